package conformance;

import static conformance.Calls.call;
import static conformance.Calls.check;
import static conformance.Calls.refused;

import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.ByteString;
import inference.Inference.InferTensorContents;
import inference.Inference.ModelInferRequest;
import inference.Inference.ModelInferRequest.InferInputTensor;
import inference.Inference.ModelInferResponse;
import inference.Inference.ModelMetadataRequest;
import inference.Inference.ModelReadyRequest;
import inference.Inference.ServerLiveRequest;
import inference.Inference.ServerMetadataRequest;
import inference.Inference.ServerReadyRequest;
import inference.Inference.SystemSharedMemoryRegisterRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/** Unary calls: the answers, the errors, sizes and concurrency. */
final class Unary {
  static final String ODD_NAME = "modèle 100% ☂ 😀"; // needs percent-encoding in grpc-message, the percent sign included
  static final List<Client.Check> CHECKS =
      List.of(
          new Client.Check("server", Unary::server),
          new Client.Check("model", Unary::model),
          new Client.Check("infer-raw", Unary::inferRaw),
          new Client.Check("infer-typed", Unary::inferTyped),
          new Client.Check("binary-metadata", Unary::binaryMetadata),
          new Client.Check("not-found", Unary::notFound),
          new Client.Check("invalid-argument", Unary::invalidArgument),
          new Client.Check("unimplemented", Unary::unimplemented),
          new Client.Check("large-output", Unary::largeOutput),
          new Client.Check("tensor-2mib", Unary::tensor2MiB),
          new Client.Check("concurrent-200", Unary::concurrent200));

  private Unary() {}

  static ByteString floats(float... values) {
    ByteBuffer raw = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      raw.putFloat(value);
    }
    return ByteString.copyFrom(raw.flip());
  }

  static InferInputTensor input(String name, long... shape) {
    InferInputTensor.Builder tensor = InferInputTensor.newBuilder().setName(name).setDatatype("FP32");
    for (long dimension : shape) {
      tensor.addShape(dimension);
    }
    return tensor.build();
  }

  /** A request to plus_one for the successors of a row that starts with `start`. */
  static ModelInferRequest.Builder row(String id, float start) {
    return ModelInferRequest.newBuilder()
        .setModelName("plus_one")
        .setId(id)
        .addInputs(input("ROW", 1, 4))
        .addRawInputContents(floats(start, start + 0.25f, start + 0.5f, -start));
  }

  static void checkRow(ModelInferResponse answer, String id, float start) {
    check(answer.getId().equals(id) && answer.getModelName().equals("plus_one") && answer.getModelVersion().equals("1"), answer);
    check(answer.getOutputsCount() == 1 && answer.getOutputs(0).getName().equals("NEXT"), answer);
    check(answer.getOutputs(0).getDatatype().equals("FP32") && answer.getOutputs(0).getShapeList().equals(List.of(1L, 4L)), answer);
    check(answer.getRawOutputContents(0).equals(floats(start + 1, start + 1.25f, start + 1.5f, 1 - start)), answer);
  }

  private static void server(ManagedChannel channel) {
    check(call(channel, Calls.SERVER_LIVE, ServerLiveRequest.getDefaultInstance()).getLive(), "not live");
    check(call(channel, Calls.SERVER_READY, ServerReadyRequest.getDefaultInstance()).getReady(), "not ready");
    var described = call(channel, Calls.SERVER_METADATA, ServerMetadataRequest.getDefaultInstance());
    check(!described.getName().isEmpty() && described.getExtensionsList().contains("binary_tensor_data"), described);
  }

  private static void model(ManagedChannel channel) {
    var name = ModelReadyRequest.newBuilder().setName("plus_one").setVersion("1").build();
    check(call(channel, Calls.MODEL_READY, name).getReady(), "not ready");
    var described = call(channel, Calls.MODEL_METADATA, ModelMetadataRequest.newBuilder().setName("plus_one").build());
    check(described.getVersionsList().equals(List.of("1")) && described.getInputsCount() == 1 && described.getOutputsCount() == 1, described);
    var input = described.getInputs(0);
    check(input.getName().equals("ROW") && input.getDatatype().equals("FP32") && input.getShapeList().equals(List.of(-1L, 4L)), input);
  }

  static void inferRaw(Channel channel) {
    checkRow(call(channel, Calls.MODEL_INFER, row("raw-1", 41).build()), "raw-1", 41);
  }

  private static void inferTyped(ManagedChannel channel) {
    var contents = InferTensorContents.newBuilder().addAllFp32Contents(List.of(7f, 7.25f, 7.5f, -7f));
    ModelInferRequest.Builder request = row("typed-1", 7).clearRawInputContents();
    request.getInputsBuilder(0).setContents(contents);
    checkRow(call(channel, Calls.MODEL_INFER, request.build()), "typed-1", 7);
  }

  private static void binaryMetadata(ManagedChannel channel) {
    Metadata metadata = new Metadata();
    var binary = Metadata.Key.of("trace-bin", Metadata.BINARY_BYTE_MARSHALLER);
    metadata.put(binary, new byte[] {0, 1, (byte) 254, (byte) 255, 13, 10, 44});
    metadata.put(binary, new byte[0]);
    metadata.put(Metadata.Key.of("x-text", Metadata.ASCII_STRING_MARSHALLER), "plain");
    Channel attached = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(metadata));
    checkRow(call(attached, Calls.MODEL_INFER, row("bin", 3).build()), "bin", 3);
  }

  private static void notFound(ManagedChannel channel) throws Exception {
    ModelInferRequest request = row("lost", 1).setModelName(ODD_NAME).build();
    refused(Status.Code.NOT_FOUND, ODD_NAME, () -> call(channel, Calls.MODEL_INFER, request));
  }

  private static void invalidArgument(ManagedChannel channel) throws Exception {
    ModelInferRequest wrong = row("wrong", 1).setInputs(0, input("größe\n%", 1, 4)).build();
    refused(Status.Code.INVALID_ARGUMENT, "größe", () -> call(channel, Calls.MODEL_INFER, wrong));
    ModelInferRequest tooShort = row("short", 1).setRawInputContents(0, floats(1, 2, 3)).build();
    refused(Status.Code.INVALID_ARGUMENT, "ROW", () -> call(channel, Calls.MODEL_INFER, tooShort));
  }

  private static void unimplemented(ManagedChannel channel) throws Exception {
    var region = SystemSharedMemoryRegisterRequest.newBuilder().setName("region").build();
    refused(Status.Code.UNIMPLEMENTED, "", () -> call(channel, Calls.REGISTER, region));
    refused(Status.Code.UNIMPLEMENTED, "", () -> call(channel, Calls.NO_SUCH_CALL, ServerLiveRequest.getDefaultInstance()));
  }

  private static void largeOutput(ManagedChannel channel) {
    ModelInferRequest request =
        ModelInferRequest.newBuilder().setModelName("ramp").addInputs(input("START", 2, 1)).addRawInputContents(floats(5, 9)).build();
    float[] want = new float[2 * 65536];
    for (int i = 0; i < 65536; i++) {
      want[i] = 5 + i;
      want[65536 + i] = 9 + i;
    }
    ByteString got = call(channel, Calls.MODEL_INFER, request).getRawOutputContents(0);
    check(got.equals(floats(want)), got.size() + " bytes, or other values");
  }

  static void tensor2MiB(Channel channel) {
    float[] values = new float[1 << 19];
    for (int i = 0; i < values.length; i++) {
      values[i] = i / 3f;
    }
    ModelInferRequest request =
        ModelInferRequest.newBuilder().setModelName("echo").addInputs(input("DATA", 1, 1 << 19)).addRawInputContents(floats(values)).build();
    check(call(channel, Calls.MODEL_INFER, request).getRawOutputContents(0).equals(floats(values)), "another tensor came back");
  }

  private static void concurrent200(ManagedChannel channel) throws Exception {
    List<ListenableFuture<ModelInferResponse>> answers = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      var started = channel.newCall(Calls.MODEL_INFER, CallOptions.DEFAULT);
      answers.add(ClientCalls.futureUnaryCall(started, row("row-" + i, 10 * i).build()));
    }
    for (int i = 0; i < 200; i++) {
      checkRow(answers.get(i).get(), "row-" + i, 10 * i);
    }
  }
}
