package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "conformance/pb"
)

const serviceName = "inference.GRPCInferenceService"

func stream(ctx context.Context, c *client) error {
	calls, err := c.inference.ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	for i := range 3 { // each answered before the next is sent
		id := fmt.Sprintf("turn-%d", i)
		if err := calls.Send(rowRequest(id, float32(i))); err != nil {
			return err
		}
		answer, err := calls.Recv()
		if err != nil {
			return err
		}
		if err := checkRow(answer.InferResponse, id, float32(i)); err != nil {
			return err
		}
	}
	for i := range 20 { // all sent before the first is read
		if err := calls.Send(rowRequest(fmt.Sprintf("burst-%d", i), float32(100+i))); err != nil {
			return err
		}
	}
	if err := calls.CloseSend(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for {
		answer, err := calls.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var i int
		if _, err := fmt.Sscanf(answer.GetInferResponse().GetId(), "burst-%d", &i); err != nil {
			return err
		}
		if err := checkRow(answer.InferResponse, fmt.Sprintf("burst-%d", i), float32(100+i)); err != nil {
			return err
		}
		seen[answer.InferResponse.Id] = true
	}
	if len(seen) != 20 {
		return fmt.Errorf("%d of 20 answered", len(seen))
	}
	return nil
}

// streamError: a message that fails is answered with a text, and the stream goes on.
func streamError(ctx context.Context, c *client) error {
	calls, err := c.inference.ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	bad := rowRequest("bad", 1)
	bad.ModelName = oddName
	for _, request := range []*pb.ModelInferRequest{bad, rowRequest("good", 2)} {
		if err := calls.Send(request); err != nil {
			return err
		}
	}
	if err := calls.CloseSend(); err != nil {
		return err
	}
	failed, err := calls.Recv()
	if err != nil || failed.ErrorMessage == "" {
		return fmt.Errorf("first answer: %v, %v", failed, err)
	}
	answer, err := calls.Recv()
	if err != nil || answer.ErrorMessage != "" {
		return fmt.Errorf("second answer: %v, %v", answer, err)
	}
	if err := checkRow(answer.InferResponse, "good", 2); err != nil {
		return err
	}
	if _, err := calls.Recv(); err != io.EOF {
		return fmt.Errorf("end: %v", err)
	}
	return nil
}

func streamEmpty(ctx context.Context, c *client) error {
	calls, err := c.inference.ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	if err := calls.CloseSend(); err != nil {
		return err
	}
	if _, err := calls.Recv(); err != io.EOF {
		return fmt.Errorf("end: %v", err)
	}
	return nil
}

func healthCheck(ctx context.Context, c *client) error {
	health := healthpb.NewHealthClient(c.channel)
	for _, service := range []string{"", serviceName} {
		answer, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
			return fmt.Errorf("%q: %v, %v", service, answer, err)
		}
	}
	_, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: "no.such.Service"})
	return wantStatus(err, codes.NotFound, "")
}

func healthWatch(ctx context.Context, c *client) error {
	for service, want := range map[string]healthpb.HealthCheckResponse_ServingStatus{
		"": healthpb.HealthCheckResponse_SERVING, "no.such.Service": healthpb.HealthCheckResponse_SERVICE_UNKNOWN,
	} {
		watching, cancel := context.WithCancel(ctx)
		defer cancel()
		watch, err := healthpb.NewHealthClient(c.channel).Watch(watching, &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			return err
		}
		answer, err := watch.Recv()
		if err != nil || answer.Status != want {
			return fmt.Errorf("%q: %v, %v", service, answer, err)
		}
		cancel()
		_, err = watch.Recv()
		if err := wantStatus(err, codes.Canceled, ""); err != nil {
			return err
		}
	}
	return nil
}

func reflection(ctx context.Context, c *client) error {
	calls, err := reflectionpb.NewServerReflectionClient(c.channel).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	ask := func(request *reflectionpb.ServerReflectionRequest) (*reflectionpb.ServerReflectionResponse, error) {
		if err := calls.Send(request); err != nil {
			return nil, err
		}
		return calls.Recv()
	}
	listed, err := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	if err != nil {
		return err
	}
	var names []string
	for _, service := range listed.GetListServicesResponse().GetService() {
		names = append(names, service.Name)
	}
	if !slices.Contains(names, serviceName) || !slices.Contains(names, "grpc.health.v1.Health") {
		return fmt.Errorf("services: %v", names)
	}
	described, err := ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: serviceName},
	})
	if err != nil {
		return err
	}
	for _, serialized := range described.GetFileDescriptorResponse().GetFileDescriptorProto() {
		var file descriptorpb.FileDescriptorProto
		if err := proto.Unmarshal(serialized, &file); err != nil {
			return err
		}
		for _, service := range file.Service {
			if file.GetPackage()+"."+service.GetName() == serviceName && len(service.Method) == 20 {
				return calls.CloseSend()
			}
		}
	}
	return fmt.Errorf("no file with %s and its 20 methods: %v", serviceName, described.GetErrorResponse())
}

func slowRequest(steps float32) *pb.ModelInferRequest {
	return &pb.ModelInferRequest{
		ModelName: os.Getenv("SLOW_MODEL"), Inputs: []*pb.ModelInferRequest_InferInputTensor{input("STEPS", 1, 1)},
		RawInputContents: [][]byte{floats(steps)},
	}
}

func deadline(ctx context.Context, c *client) error {
	limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.inference.ModelInfer(limited, slowRequest(3000))
	if took := time.Since(start); took > time.Second {
		return fmt.Errorf("answered after %v", took)
	}
	return wantStatus(err, codes.DeadlineExceeded, "")
}

// cancelCall: the caller goes away in the middle of a run; its neighbours on the channel are served meanwhile and after.
func cancelCall(ctx context.Context, c *client) error {
	cancelled, cancel := context.WithCancel(ctx)
	time.AfterFunc(100*time.Millisecond, cancel)
	done := make(chan error, 1)
	go func() {
		_, err := c.inference.ModelInfer(cancelled, slowRequest(3000))
		done <- err
	}()
	for i := range 50 {
		answer, err := c.inference.ModelInfer(ctx, rowRequest("neighbour", float32(i)))
		if err := errors.Join(err, checkRow(answer, "neighbour", float32(i))); err != nil {
			return err
		}
		time.Sleep(4 * time.Millisecond)
	}
	return wantStatus(<-done, codes.Canceled, "")
}

func cancelStream(ctx context.Context, c *client) error {
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	calls, err := c.inference.ModelStreamInfer(cancelled)
	if err != nil {
		return err
	}
	if err := calls.Send(rowRequest("first", 1)); err != nil {
		return err
	}
	if _, err := calls.Recv(); err != nil {
		return err
	}
	cancel()
	_, err = calls.Recv()
	if err := wantStatus(err, codes.Canceled, ""); err != nil {
		return err
	}
	return inferRaw(ctx, c)
}
