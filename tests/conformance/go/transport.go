package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	pb "conformance/pb"
)

// keepalivePings: an idle connection that pings every 10 s, the shortest that grpc-go allows, is still the same after two pings.
func keepalivePings() error {
	ping := keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}
	pinging, err := dial(grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithKeepaliveParams(ping))
	if err != nil {
		return err
	}
	defer pinging.channel.Close()
	before, err := localAddress(pinging)
	if err != nil {
		return err
	}
	time.Sleep(24 * time.Second)
	after, err := localAddress(pinging)
	if err != nil {
		return err
	}
	if before != after {
		return fmt.Errorf("the connection from %s was replaced by one from %s", before, after)
	}
	return nil
}

func localAddress(c *client) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	var connection peer.Peer
	if _, err := c.inference.ServerLive(ctx, &pb.ServerLiveRequest{}, grpc.Peer(&connection)); err != nil {
		return "", err
	}
	return connection.LocalAddr.String(), nil
}

func overTLS(ctx context.Context, _ *client) error {
	trust, err := credentials.NewClientTLSFromFile(os.Getenv("CA_FILE"), "localhost")
	if err != nil {
		return err
	}
	channel, err := grpc.NewClient("passthrough:///"+os.Getenv("TLS_TARGET"), grpc.WithTransportCredentials(trust))
	if err != nil {
		return err
	}
	defer channel.Close()
	secure := &client{channel, pb.NewGRPCInferenceServiceClient(channel)}
	if err := inferRaw(ctx, secure); err != nil {
		return err
	}
	return tensor2MiB(ctx, secure)
}
