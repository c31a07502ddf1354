"""Every bound of the gateway, with its default and its reason. A setting here is a key under `limits:` in the config file.

Sizes are bytes, durations seconds. `tidegate config explain` prints the comment beside each field.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

KIB, MIB = 1 << 10, 1 << 20
LONG_READ = 128 * KIB  # bytes of one read after which others have their turn: libuv would read 32 times as much before another socket
Slots = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]  # of an arena of counters


class WireLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one connection and one peer may ask of the transports."""

    max_connections: int = 1024  # all listeners together
    max_connections_per_peer: int = 1024  # by IP address; set 64 where no proxy stands in front
    max_body_bytes: int = 32 * MIB  # one request body or gRPC message, after decompression
    max_decompression_ratio: int = 100  # decompressed size over wire size; more is a bomb
    max_buffered_bytes: int = 64 * MIB  # incomplete request bodies of one connection together
    max_header_bytes: int = 16 * KIB  # all names and values of one request, HPACK-decoded (RFC 9113 §6.5.2 counts 32 more each)
    max_headers: int = 64  # fields of one request
    max_target_bytes: int = 4 * KIB  # request target; 414 past it
    max_chunks: int = 65_536  # of one chunked HTTP/1.1 body
    max_pipelined: int = 128  # HTTP/1.1 requests waiting for their turn; reading pauses past it
    max_streams: int = 128  # concurrent HTTP/2 streams of one connection (SETTINGS_MAX_CONCURRENT_STREAMS)
    hpack_table_bytes: int = 4 * KIB  # SETTINGS_HEADER_TABLE_SIZE
    stream_window_bytes: int = 4 * MIB  # SETTINGS_INITIAL_WINDOW_SIZE
    connection_window_bytes: int = 16 * MIB  # what all streams of a connection may have under way together
    max_frame_bytes: int = 1 * MIB  # SETTINGS_MAX_FRAME_SIZE: larger frames cost less to parse
    max_send_buffer_bytes: int = 64 * MIB  # answers that a peer does not take; past it HTTP/1.1 is closed, HTTP/2 streams are reset
    compress_over_bytes: int = 0  # HTTP/1.1 answers larger than this are compressed for callers that accept it; 0: never
    max_resets: int = 500  # RST_STREAM from the peer per flood_window_s (CVE-2023-44487); GOAWAY ENHANCE_YOUR_CALM past it
    max_control_frames: int = 1_000  # SETTINGS, PING, PRIORITY, empty DATA, unknown frames per flood_window_s
    max_continuations: int = 32  # CONTINUATION frames of one header block (CVE-2024-27316)
    flood_window_s: float = 10.0  # the window of the two rates above
    header_timeout_s: float = 5.0  # from the first byte of a request to the end of its headers
    body_timeout_s: float = 30.0  # from the headers to the end of the body
    min_body_rate: int = 64 * KIB  # bytes per second that extend body_timeout_s
    write_timeout_s: float = 30.0  # a peer that takes nothing for so long is closed
    linger_timeout_s: float = 2.0  # how long what a refused HTTP/1.1 peer still sends is discarded, so that it sees the answer
    idle_timeout_s: float = 60.0  # HTTP/1.1 keep-alive, and HTTP/2 without a stream
    handshake_timeout_s: float = 5.0  # TLS
    keepalive_s: float = 60.0  # HTTP/2 PING to a silent peer with open streams
    keepalive_timeout_s: float = 20.0  # until its answer
    max_age_s: float = 1_800.0  # GOAWAY after so long, ± 10 %, so that load balancers can rebalance
    max_age_grace_s: float = 60.0  # for its open requests, until the connection is closed


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one inference request may hold."""

    max_json_bytes: int = 16 * MIB  # a JSON body, or the JSON part of one with binary tensors
    max_envelope_bytes: int = 1 * MIB  # of the JSON text outside tensor data, where every value costs an object
    max_json_depth: int = 16  # nested arrays and objects
    max_inputs: int = 64  # tensors of one request
    max_outputs: int = 64  # requested outputs of one request
    max_parameters: int = 32  # of a request, and of each of its tensors
    max_rank: int = 8  # dimensions of one tensor
    max_elements: int = 16 * MIB  # of one tensor
    max_tensor_bytes: int = 64 * MIB  # of one tensor read from JSON, whose "0," can stand for 8 bytes
    max_typed_bytes: int = 64 * MIB  # decoded typed contents of one gRPC request: integers grow up to eightfold on the way
    max_string_elements: int = 1 * MIB  # of one tensor, and over gRPC of one request
    max_string_bytes: int = 1 * MIB  # of one element of a BYTES tensor
    max_id_bytes: int = 256  # the request id


class ServingLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What waits for and runs on the models."""

    max_queue_rows: int = 4_096  # waiting rows of one version
    max_queue_bytes: int = 64 * MIB  # waiting bytes of one version
    max_inflight_bytes: int = 256 * MIB  # decoded inputs of all requests that are not answered yet
    max_batch_bytes: int = 8 * MIB  # input bytes of one run: rows that are large gain nothing from larger batches
    max_output_bytes: int = 64 * MIB  # of one request
    max_arena_bytes: int = 256 * MIB  # what all runs may take for outputs and what lies between; more for models with large activations
    default_deadline_s: float = 10.0  # where the caller names none
    max_deadline_s: float = 30.0  # a longer one is cut to this


class ObserveLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is counted by name. Past these, versions are counted together, as `_overflow`, and `tidegate_metrics_overflow_total` says so."""

    max_versions: Slots = 4_096  # loaded at once with counters of their own; each costs 1 KiB a worker from its first request on
    max_series: int = 200_000  # of the metrics page; a version has up to 115, 127 with metrics.triton_names; an unloaded one keeps them
    max_labelled: Slots = 20_000  # series of one gauge, or one counter that is not of requests; what is over is left out and counted
    max_series_per_model: int = 5_000  # of all versions of a model, so that one that changes daily leaves room for the others


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All bounds."""

    wire: WireLimits = WireLimits()
    request: RequestLimits = RequestLimits()
    serving: ServingLimits = ServingLimits()
    observe: ObserveLimits = ObserveLimits()
