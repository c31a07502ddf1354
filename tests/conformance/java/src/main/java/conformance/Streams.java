package conformance;

import static conformance.Calls.check;
import static conformance.Calls.refused;
import static conformance.Unary.checkRow;
import static conformance.Unary.row;

import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import inference.Inference.ModelInferRequest;
import inference.Inference.ModelInferResponse;
import inference.Inference.ModelStreamInferResponse;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.reflection.v1.ServerReflectionGrpc;
import io.grpc.reflection.v1.ServerReflectionRequest;
import io.grpc.reflection.v1.ServerReflectionResponse;
import io.grpc.stub.BlockingClientCall;
import io.grpc.stub.ClientCalls;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** Streaming calls, and calls that end early. */
final class Streams {
  static final List<Client.Check> CHECKS =
      List.of(
          new Client.Check("stream", Streams::stream),
          new Client.Check("stream-error", Streams::streamError),
          new Client.Check("stream-empty", Streams::streamEmpty),
          new Client.Check("health-check", Streams::healthCheck),
          new Client.Check("health-watch", Streams::healthWatch),
          new Client.Check("reflection", Streams::reflection),
          new Client.Check("deadline", Streams::deadline),
          new Client.Check("cancel", Streams::cancel),
          new Client.Check("cancel-stream", Streams::cancelStream));

  private Streams() {}

  private static BlockingClientCall<ModelInferRequest, ModelStreamInferResponse> open(ManagedChannel channel) {
    return ClientCalls.blockingBidiStreamingCall(channel, Calls.MODEL_STREAM_INFER, CallOptions.DEFAULT);
  }

  private static void stream(ManagedChannel channel) throws Exception {
    var calls = open(channel);
    for (int i = 0; i < 3; i++) { // each answered before the next is sent
      calls.write(row("turn-" + i, i).build());
      checkRow(calls.read().getInferResponse(), "turn-" + i, i);
    }
    for (int i = 0; i < 20; i++) { // all sent before the first is read
      calls.write(row("burst-" + i, 100 + i).build());
    }
    calls.halfClose();
    Set<String> seen = new HashSet<>();
    for (var answer = calls.read(); answer != null; answer = calls.read()) {
      ModelInferResponse response = answer.getInferResponse();
      checkRow(response, response.getId(), 100 + Integer.parseInt(response.getId().substring("burst-".length())));
      seen.add(response.getId());
    }
    check(seen.size() == 20, seen.size() + " of 20 answered");
  }

  /** A message that fails is answered with a text, and the stream goes on. */
  private static void streamError(ManagedChannel channel) throws Exception {
    var calls = open(channel);
    calls.write(row("bad", 1).setModelName(Unary.ODD_NAME).build());
    calls.write(row("good", 2).build());
    calls.halfClose();
    ModelStreamInferResponse bad = calls.read();
    check(!bad.getErrorMessage().isEmpty(), bad);
    ModelStreamInferResponse good = calls.read();
    check(good.getErrorMessage().isEmpty(), good);
    checkRow(good.getInferResponse(), "good", 2);
    check(calls.read() == null, "a third answer");
  }

  private static void streamEmpty(ManagedChannel channel) throws Exception {
    var calls = open(channel);
    calls.halfClose();
    check(calls.read() == null, "an answer to nothing");
  }

  private static void healthCheck(ManagedChannel channel) throws Exception {
    var health = HealthGrpc.newBlockingStub(channel);
    for (String service : List.of("", Calls.SERVICE)) {
      var answer = health.check(HealthCheckRequest.newBuilder().setService(service).build());
      check(answer.getStatus() == ServingStatus.SERVING, service + ": " + answer);
    }
    var unknown = HealthCheckRequest.newBuilder().setService("no.such.Service").build();
    refused(Status.Code.NOT_FOUND, "", () -> health.check(unknown));
  }

  private static void healthWatch(ManagedChannel channel) throws Exception {
    for (var want : Map.of("", ServingStatus.SERVING, "no.such.Service", ServingStatus.SERVICE_UNKNOWN).entrySet()) {
      var request = HealthCheckRequest.newBuilder().setService(want.getKey()).build();
      BlockingClientCall<HealthCheckRequest, HealthCheckResponse> watch =
          ClientCalls.blockingV2ServerStreamingCall(channel, HealthGrpc.getWatchMethod(), CallOptions.DEFAULT, request);
      HealthCheckResponse answer = watch.read();
      check(answer.getStatus() == want.getValue(), want + ": " + answer);
      watch.cancel("seen enough", null);
      ended(Status.Code.CANCELLED, watch);
    }
  }

  private static void ended(Status.Code code, BlockingClientCall<?, ?> call) throws Exception {
    try {
      check(call.read() == null && code == Status.Code.OK, "the call went on, or ended well");
    } catch (io.grpc.StatusException end) {
      refused(code, "", end.getStatus());
    } catch (StatusRuntimeException end) {
      refused(code, "", end.getStatus());
    }
  }

  private static void reflection(ManagedChannel channel) throws Exception {
    BlockingClientCall<ServerReflectionRequest, ServerReflectionResponse> calls =
        ClientCalls.blockingBidiStreamingCall(channel, ServerReflectionGrpc.getServerReflectionInfoMethod(), CallOptions.DEFAULT);
    calls.write(ServerReflectionRequest.newBuilder().setListServices("").build());
    List<String> names = calls.read().getListServicesResponse().getServiceList().stream().map(service -> service.getName()).toList();
    check(names.contains(Calls.SERVICE) && names.contains("grpc.health.v1.Health"), names);
    calls.write(ServerReflectionRequest.newBuilder().setFileContainingSymbol(Calls.SERVICE).build());
    boolean found = false;
    for (var serialized : calls.read().getFileDescriptorResponse().getFileDescriptorProtoList()) {
      FileDescriptorProto file = FileDescriptorProto.parseFrom(serialized);
      found |= file.getServiceList().stream().anyMatch(service -> service.getMethodCount() == 20);
    }
    check(found, "no file with the 20 methods of " + Calls.SERVICE);
    calls.halfClose();
    check(calls.read() == null, "an answer too many");
  }

  private static ModelInferRequest slow(float steps) {
    return ModelInferRequest.newBuilder()
        .setModelName(System.getenv("SLOW_MODEL"))
        .addInputs(Unary.input("STEPS", 1, 1))
        .addRawInputContents(Unary.floats(steps))
        .build();
  }

  private static void deadline(ManagedChannel channel) throws Exception {
    long start = System.nanoTime();
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(200, TimeUnit.MILLISECONDS);
    refused(Status.Code.DEADLINE_EXCEEDED, "", () -> ClientCalls.blockingUnaryCall(channel, Calls.MODEL_INFER, options, slow(3000)));
    long tookMs = (System.nanoTime() - start) / 1_000_000;
    check(tookMs < 1000, "answered after " + tookMs + " ms");
  }

  /** The caller goes away in the middle of a run; its neighbours on the channel are served meanwhile and after. */
  private static void cancel(ManagedChannel channel) throws Exception {
    ClientCall<ModelInferRequest, ModelInferResponse> running = channel.newCall(Calls.MODEL_INFER, CallOptions.DEFAULT);
    var answer = ClientCalls.futureUnaryCall(running, slow(3000));
    for (int i = 0; i < 50; i++) {
      checkRow(Calls.call(channel, Calls.MODEL_INFER, row("neighbour", i).build()), "neighbour", i);
      Thread.sleep(4);
      if (i == 25) {
        running.cancel("gone", null);
      }
    }
    try {
      throw new AssertionError("answered " + answer.get());
    } catch (ExecutionException end) {
      refused(Status.Code.CANCELLED, "", Status.fromThrowable(end));
    }
  }

  private static void cancelStream(ManagedChannel channel) throws Exception {
    var calls = open(channel);
    calls.write(row("first", 1).build());
    checkRow(calls.read().getInferResponse(), "first", 1);
    calls.cancel("seen enough", null);
    ended(Status.Code.CANCELLED, calls);
    Unary.inferRaw(channel);
  }
}
