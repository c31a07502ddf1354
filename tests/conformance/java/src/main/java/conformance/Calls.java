package conformance;

import com.google.protobuf.Message;
import inference.Inference.ModelInferRequest;
import inference.Inference.ModelInferResponse;
import inference.Inference.ModelMetadataRequest;
import inference.Inference.ModelMetadataResponse;
import inference.Inference.ModelReadyRequest;
import inference.Inference.ModelReadyResponse;
import inference.Inference.ModelStreamInferResponse;
import inference.Inference.ServerLiveRequest;
import inference.Inference.ServerLiveResponse;
import inference.Inference.ServerMetadataRequest;
import inference.Inference.ServerMetadataResponse;
import inference.Inference.ServerReadyRequest;
import inference.Inference.ServerReadyResponse;
import inference.Inference.SystemSharedMemoryRegisterRequest;
import inference.Inference.SystemSharedMemoryRegisterResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import java.util.concurrent.Callable;

/** The calls of the inference service that the checks need, and how an answer or a refusal is judged. */
final class Calls {
  static final String SERVICE = "inference.GRPCInferenceService";

  static final MethodDescriptor<ServerLiveRequest, ServerLiveResponse> SERVER_LIVE =
      unary("ServerLive", ServerLiveRequest.getDefaultInstance(), ServerLiveResponse.getDefaultInstance());
  static final MethodDescriptor<ServerReadyRequest, ServerReadyResponse> SERVER_READY =
      unary("ServerReady", ServerReadyRequest.getDefaultInstance(), ServerReadyResponse.getDefaultInstance());
  static final MethodDescriptor<ServerMetadataRequest, ServerMetadataResponse> SERVER_METADATA =
      unary("ServerMetadata", ServerMetadataRequest.getDefaultInstance(), ServerMetadataResponse.getDefaultInstance());
  static final MethodDescriptor<ModelReadyRequest, ModelReadyResponse> MODEL_READY =
      unary("ModelReady", ModelReadyRequest.getDefaultInstance(), ModelReadyResponse.getDefaultInstance());
  static final MethodDescriptor<ModelMetadataRequest, ModelMetadataResponse> MODEL_METADATA =
      unary("ModelMetadata", ModelMetadataRequest.getDefaultInstance(), ModelMetadataResponse.getDefaultInstance());
  static final MethodDescriptor<ModelInferRequest, ModelInferResponse> MODEL_INFER =
      unary("ModelInfer", ModelInferRequest.getDefaultInstance(), ModelInferResponse.getDefaultInstance());
  static final MethodDescriptor<ModelInferRequest, ModelStreamInferResponse> MODEL_STREAM_INFER =
      bidi("ModelStreamInfer", ModelInferRequest.getDefaultInstance(), ModelStreamInferResponse.getDefaultInstance());
  static final MethodDescriptor<SystemSharedMemoryRegisterRequest, SystemSharedMemoryRegisterResponse> REGISTER =
      unary("SystemSharedMemoryRegister", SystemSharedMemoryRegisterRequest.getDefaultInstance(), SystemSharedMemoryRegisterResponse.getDefaultInstance());
  static final MethodDescriptor<ServerLiveRequest, ServerLiveResponse> NO_SUCH_CALL =
      unary("NoSuchCall", ServerLiveRequest.getDefaultInstance(), ServerLiveResponse.getDefaultInstance());

  private Calls() {}

  private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> unary(String name, Q request, A answer) {
    return method(name, MethodType.UNARY, request, answer);
  }

  private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> bidi(String name, Q request, A answer) {
    return method(name, MethodType.BIDI_STREAMING, request, answer);
  }

  private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> method(String name, MethodType type, Q request, A answer) {
    return MethodDescriptor.<Q, A>newBuilder()
        .setType(type)
        .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, name))
        .setRequestMarshaller(ProtoUtils.marshaller(request))
        .setResponseMarshaller(ProtoUtils.marshaller(answer))
        .build();
  }

  static <Q, A> A call(Channel channel, MethodDescriptor<Q, A> method, Q request) {
    return ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, request);
  }

  static void check(boolean good, Object text) {
    if (!good) {
      throw new AssertionError(String.valueOf(text));
    }
  }

  /** The call must fail with `code` and a text that contains `part`. */
  static void refused(Status.Code code, String part, Callable<?> call) throws Exception {
    Object answer;
    try {
      answer = call.call();
    } catch (StatusRuntimeException refusal) {
      refused(code, part, refusal.getStatus());
      return;
    }
    throw new AssertionError("answered " + answer + ", want " + code);
  }

  static void refused(Status.Code code, String part, Status status) {
    String text = String.valueOf(status.getDescription());
    check(status.getCode() == code && text.contains(part), "got " + status.getCode() + " " + text + ", want " + code + " with " + part);
  }
}
