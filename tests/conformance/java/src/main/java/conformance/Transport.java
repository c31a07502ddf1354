package conformance;

import static conformance.Calls.check;

import inference.Inference.ServerLiveRequest;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import java.io.File;
import java.net.SocketAddress;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** What lies under the calls: the channel, TLS, keepalive. */
final class Transport {
  static final List<Client.Check> CHECKS = List.of(new Client.Check("tls", Transport::tls));

  private Transport() {}

  static ManagedChannel plain() {
    return NettyChannelBuilder.forTarget(System.getenv("TARGET")).usePlaintext().build();
  }

  private static void tls(ManagedChannel unused) throws Exception {
    var trust = TlsChannelCredentials.newBuilder().trustManager(new File(System.getenv("CA_FILE"))).build();
    ManagedChannel secure = Grpc.newChannelBuilder(System.getenv("TLS_TARGET"), trust).overrideAuthority("localhost").build();
    try {
      Unary.inferRaw(secure);
      Unary.tensor2MiB(secure);
    } finally {
      secure.shutdownNow();
    }
  }

  /** An idle connection that pings every 10 s, the shortest that grpc-java allows, is still the same after two pings. */
  static void keepalivePings(ManagedChannel unused) throws Exception {
    ManagedChannel pinging =
        NettyChannelBuilder.forTarget(System.getenv("TARGET"))
            .usePlaintext()
            .keepAliveTime(10, TimeUnit.SECONDS)
            .keepAliveTimeout(3, TimeUnit.SECONDS)
            .keepAliveWithoutCalls(true)
            .build();
    try {
      SocketAddress before = localAddress(pinging);
      Thread.sleep(24_000);
      SocketAddress after = localAddress(pinging);
      check(before.equals(after), "the connection from " + before + " was replaced by one from " + after);
    } finally {
      pinging.shutdownNow();
    }
  }

  private static SocketAddress localAddress(ManagedChannel channel) throws Exception {
    var call = channel.newCall(Calls.SERVER_LIVE, CallOptions.DEFAULT);
    CompletableFuture<SocketAddress> address = new CompletableFuture<>();
    call.start(
        new ClientCall.Listener<>() {
          @Override
          public void onClose(Status status, Metadata trailers) {
            if (status.isOk()) {
              address.complete(call.getAttributes().get(Grpc.TRANSPORT_ATTR_LOCAL_ADDR));
            } else {
              address.completeExceptionally(status.asException());
            }
          }
        },
        new Metadata());
    call.sendMessage(ServerLiveRequest.getDefaultInstance());
    call.halfClose();
    call.request(2);
    return address.get(5, TimeUnit.SECONDS);
  }
}
