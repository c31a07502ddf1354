package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "conformance/pb"
)

const oddName = "modèle 100% ☂ 😀" // needs percent-encoding in grpc-message, the percent sign included

func floats(values ...float32) []byte {
	raw := make([]byte, 0, 4*len(values))
	for _, value := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(value))
	}
	return raw
}

func input(name string, shape ...int64) *pb.ModelInferRequest_InferInputTensor {
	return &pb.ModelInferRequest_InferInputTensor{Name: name, Datatype: "FP32", Shape: shape}
}

// rowRequest asks plus_one for the successors of a row that starts with `start`.
func rowRequest(id string, start float32) *pb.ModelInferRequest {
	return &pb.ModelInferRequest{
		ModelName: "plus_one", Id: id, Inputs: []*pb.ModelInferRequest_InferInputTensor{input("ROW", 1, 4)},
		RawInputContents: [][]byte{floats(start, start+0.25, start+0.5, -start)},
	}
}

func checkRow(answer *pb.ModelInferResponse, id string, start float32) error {
	want := floats(start+1, start+1.25, start+1.5, 1-start)
	switch {
	case answer.GetId() != id || answer.ModelName != "plus_one" || answer.ModelVersion != "1":
		return fmt.Errorf("id %q, model %q, version %q", answer.GetId(), answer.GetModelName(), answer.GetModelVersion())
	case len(answer.Outputs) != 1 || len(answer.RawOutputContents) != 1:
		return fmt.Errorf("%d outputs, %d raw", len(answer.Outputs), len(answer.RawOutputContents))
	case answer.Outputs[0].Name != "NEXT" || answer.Outputs[0].Datatype != "FP32" || !slices.Equal(answer.Outputs[0].Shape, []int64{1, 4}):
		return fmt.Errorf("output %v", answer.Outputs[0])
	case !slices.Equal(answer.RawOutputContents[0], want):
		return fmt.Errorf("%s: raw %x, want %x", id, answer.RawOutputContents[0], want)
	}
	return nil
}

func wantStatus(err error, code codes.Code, part string) error {
	got := status.Convert(err)
	if got.Code() != code || !strings.Contains(got.Message(), part) {
		return fmt.Errorf("got %v %q, want %v with %q", got.Code(), got.Message(), code, part)
	}
	return nil
}

func server(ctx context.Context, c *client) error {
	live, err := c.inference.ServerLive(ctx, &pb.ServerLiveRequest{})
	if err != nil || !live.Live {
		return fmt.Errorf("live: %v, %v", live, err)
	}
	ready, err := c.inference.ServerReady(ctx, &pb.ServerReadyRequest{})
	if err != nil || !ready.Ready {
		return fmt.Errorf("ready: %v, %v", ready, err)
	}
	described, err := c.inference.ServerMetadata(ctx, &pb.ServerMetadataRequest{})
	if err != nil || described.Name == "" || !slices.Contains(described.Extensions, "binary_tensor_data") {
		return fmt.Errorf("metadata: %v, %v", described, err)
	}
	return nil
}

func model(ctx context.Context, c *client) error {
	ready, err := c.inference.ModelReady(ctx, &pb.ModelReadyRequest{Name: "plus_one", Version: "1"})
	if err != nil || !ready.Ready {
		return fmt.Errorf("ready: %v, %v", ready, err)
	}
	described, err := c.inference.ModelMetadata(ctx, &pb.ModelMetadataRequest{Name: "plus_one"})
	if err != nil {
		return err
	}
	if len(described.Inputs) != 1 || len(described.Outputs) != 1 || !slices.Equal(described.Versions, []string{"1"}) {
		return fmt.Errorf("metadata: %v", described)
	}
	if in := described.Inputs[0]; in.Name != "ROW" || in.Datatype != "FP32" || !slices.Equal(in.Shape, []int64{-1, 4}) {
		return fmt.Errorf("input: %v", in)
	}
	return nil
}

func inferRaw(ctx context.Context, c *client) error {
	answer, err := c.inference.ModelInfer(ctx, rowRequest("raw-1", 41))
	if err != nil {
		return err
	}
	return checkRow(answer, "raw-1", 41)
}

func inferTyped(ctx context.Context, c *client) error {
	request := rowRequest("typed-1", 7)
	request.RawInputContents = nil
	request.Inputs[0].Contents = &pb.InferTensorContents{Fp32Contents: []float32{7, 7.25, 7.5, -7}}
	answer, err := c.inference.ModelInfer(ctx, request)
	if err != nil {
		return err
	}
	return checkRow(answer, "typed-1", 7)
}

func binaryMetadata(ctx context.Context, c *client) error {
	ctx = metadata.AppendToOutgoingContext(ctx, "trace-bin", "\x00\x01\xfe\xff\r\n,", "trace-bin", "", "x-text", "plain")
	answer, err := c.inference.ModelInfer(ctx, rowRequest("bin", 3))
	if err != nil {
		return err
	}
	return checkRow(answer, "bin", 3)
}

func notFound(ctx context.Context, c *client) error {
	request := rowRequest("lost", 1)
	request.ModelName = oddName
	_, err := c.inference.ModelInfer(ctx, request)
	return wantStatus(err, codes.NotFound, oddName)
}

func invalidArgument(ctx context.Context, c *client) error {
	request := rowRequest("wrong", 1)
	request.Inputs[0].Name = "größe\n%"
	_, err := c.inference.ModelInfer(ctx, request)
	if err := wantStatus(err, codes.InvalidArgument, "größe"); err != nil {
		return err
	}
	request = rowRequest("short", 1)
	request.RawInputContents[0] = request.RawInputContents[0][:12]
	_, err = c.inference.ModelInfer(ctx, request)
	return wantStatus(err, codes.InvalidArgument, "ROW")
}

func unimplemented(ctx context.Context, c *client) error {
	_, err := c.inference.SystemSharedMemoryRegister(ctx, &pb.SystemSharedMemoryRegisterRequest{Name: "region"})
	if err := wantStatus(err, codes.Unimplemented, ""); err != nil {
		return err
	}
	err = c.channel.Invoke(ctx, "/inference.GRPCInferenceService/NoSuchCall", &pb.ServerLiveRequest{}, &pb.ServerLiveResponse{})
	return wantStatus(err, codes.Unimplemented, "")
}

func largeOutput(ctx context.Context, c *client) error {
	request := &pb.ModelInferRequest{
		ModelName: "ramp", Inputs: []*pb.ModelInferRequest_InferInputTensor{input("START", 2, 1)}, RawInputContents: [][]byte{floats(5, 9)},
	}
	answer, err := c.inference.ModelInfer(ctx, request)
	if err != nil {
		return err
	}
	var want []byte
	for _, start := range []float32{5, 9} {
		for i := range 65536 {
			want = append(want, floats(start+float32(i))...)
		}
	}
	if !slices.Equal(answer.RawOutputContents[0], want) {
		return fmt.Errorf("%d bytes, want %d, or other values", len(answer.RawOutputContents[0]), len(want))
	}
	return nil
}

func tensor2MiB(ctx context.Context, c *client) error {
	values := make([]float32, 1<<19)
	for i := range values {
		values[i] = float32(i) / 3
	}
	request := &pb.ModelInferRequest{
		ModelName: "echo", Inputs: []*pb.ModelInferRequest_InferInputTensor{input("DATA", 1, 1<<19)}, RawInputContents: [][]byte{floats(values...)},
	}
	answer, err := c.inference.ModelInfer(ctx, request)
	if err != nil {
		return err
	}
	if !slices.Equal(answer.RawOutputContents[0], request.RawInputContents[0]) {
		return errors.New("another tensor came back")
	}
	return nil
}

func concurrent200(ctx context.Context, c *client) error {
	failures := make([]error, 200)
	var group sync.WaitGroup
	for i := range failures {
		group.Add(1)
		go func() {
			defer group.Done()
			id := fmt.Sprintf("row-%d", i)
			answer, err := c.inference.ModelInfer(ctx, rowRequest(id, float32(10*i)))
			if err == nil {
				err = checkRow(answer, id, float32(10*i))
			}
			failures[i] = err
		}()
	}
	group.Wait()
	failures = slices.DeleteFunc(failures, func(failure error) bool { return failure == nil })
	if len(failures) > 0 {
		return fmt.Errorf("%d of 200 failed, the first: %w", len(failures), failures[0])
	}
	return nil
}
