package conformance;

import io.grpc.ManagedChannel;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Calls the gateway with grpc-java over Netty and prints one line per check: "ok NAME" or "FAIL NAME: REASON".
 *
 * <p>Environment: TARGET and TLS_TARGET (host:port), CA_FILE (PEM), SLOW_MODEL (the copy of the slow model that is ours alone).
 */
public final class Client {
  private static final int CHECK_TIMEOUT_S = 30;
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  /** What one check does with the shared channel; any exception is its failure. */
  interface Body {
    void run(ManagedChannel channel) throws Exception;
  }

  record Check(String name, Body body) {}

  public static void main(String[] arguments) {
    ExecutorService threads = Executors.newCachedThreadPool();
    ManagedChannel shared = Transport.plain();
    Future<?> keepalive = start(threads, Transport::keepalivePings, shared); // grpc-java pings at most every 10 s: beside the rest
    List<Check> checks = new ArrayList<>(Unary.CHECKS);
    checks.addAll(Streams.CHECKS);
    checks.addAll(Transport.CHECKS);
    boolean good = true;
    for (Check check : checks) {
      good &= report(check.name(), start(threads, check.body(), shared));
    }
    good &= report("keepalive", keepalive);
    System.exit(good ? 0 : 1);
  }

  private static Future<?> start(ExecutorService threads, Body body, ManagedChannel channel) {
    return threads.submit(
        () -> {
          body.run(channel);
          return null;
        });
  }

  private static boolean report(String name, Future<?> running) {
    String reason;
    try {
      running.get(CHECK_TIMEOUT_S, TimeUnit.SECONDS);
      OUT.println("ok " + name);
      return true;
    } catch (ExecutionException failure) {
      reason = failure.getCause().toString();
    } catch (TimeoutException late) {
      reason = "no end after " + CHECK_TIMEOUT_S + " s";
    } catch (InterruptedException impossible) {
      throw new IllegalStateException(impossible);
    }
    OUT.println("FAIL " + name + ": " + reason.replace("\n", "\\n"));
    return false;
  }
}
