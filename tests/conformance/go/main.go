// Command conformance calls the gateway with grpc-go and prints one line per check: "ok NAME" or "FAIL NAME: REASON".
//
// Environment: TARGET and TLS_TARGET (host:port), CA_FILE (PEM), SLOW_MODEL (the copy of the slow model that is ours alone).
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "conformance/pb"
)

const checkTimeout = 30 * time.Second

type check struct {
	name string
	run  func(context.Context, *client) error
}

// client is one channel with the stubs on it.
type client struct {
	channel   *grpc.ClientConn
	inference pb.GRPCInferenceServiceClient
}

func dial(options ...grpc.DialOption) (*client, error) {
	if len(options) == 0 {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	channel, err := grpc.NewClient("passthrough:///"+os.Getenv("TARGET"), options...)
	if err != nil {
		return nil, err
	}
	return &client{channel, pb.NewGRPCInferenceServiceClient(channel)}, nil
}

func report(name string, err error) bool {
	if err != nil {
		fmt.Printf("FAIL %s: %q\n", name, err.Error())
		return false
	}
	fmt.Println("ok", name)
	return true
}

func main() {
	checks := []check{
		{"server", server}, {"model", model}, {"infer-raw", inferRaw}, {"infer-typed", inferTyped},
		{"binary-metadata", binaryMetadata}, {"not-found", notFound}, {"invalid-argument", invalidArgument},
		{"unimplemented", unimplemented}, {"large-output", largeOutput}, {"tensor-2mib", tensor2MiB},
		{"concurrent-200", concurrent200}, {"stream", stream}, {"stream-error", streamError}, {"stream-empty", streamEmpty},
		{"health-check", healthCheck}, {"health-watch", healthWatch}, {"reflection", reflection},
		{"deadline", deadline}, {"cancel", cancelCall}, {"cancel-stream", cancelStream}, {"tls", overTLS},
	}
	keepalive := make(chan error, 1)
	go func() { keepalive <- keepalivePings() }() // grpc-go sends no more than one ping in 10 s: it runs beside the rest
	shared, err := dial()
	good := report("channel", err)
	if !good {
		os.Exit(1)
	}
	for _, each := range checks {
		ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
		good = report(each.name, each.run(ctx, shared)) && good
		cancel()
	}
	good = report("keepalive", <-keepalive) && good
	if !good {
		os.Exit(1)
	}
}
