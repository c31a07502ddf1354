// Unary calls: the answers, the errors, sizes and concurrency.

import { Metadata, status } from '@grpc/grpc-js';
import { SERVICE, assert, call, refused } from './services.js';

export const ODD_NAME = 'modèle 100% ☂ 😀'; // needs percent-encoding in grpc-message, the percent sign included

const floats = (...values) => Buffer.from(new Float32Array(values).buffer);
const input = (name, ...shape) => ({ name, datatype: 'FP32', shape });
const row = (start) => [start, start + 0.25, start + 0.5, -start];

/** A request to plus_one for the successors of a row that starts with `start`. */
export function rowRequest(id, start) {
  return { model_name: 'plus_one', id, inputs: [input('ROW', 1, 4)], raw_input_contents: [floats(...row(start))] };
}

export function checkRow(answer, id, start) {
  const [output] = answer.outputs;
  assert(answer.id === id && answer.model_name === 'plus_one' && answer.model_version === '1', `${answer.id} ${answer.model_name}`);
  assert(output.name === 'NEXT' && output.datatype === 'FP32' && `${output.shape}` === '1,4', JSON.stringify(output));
  const want = floats(...row(start).map((value) => value + 1));
  assert(want.equals(answer.raw_output_contents[0]), `${id}: ${answer.raw_output_contents[0].toString('hex')}`);
}

export async function inferRaw({ inference }) {
  checkRow(await call(inference, 'ModelInfer', rowRequest('raw-1', 41)), 'raw-1', 41);
}

async function inferTyped({ inference }) {
  const request = rowRequest('typed-1', 7);
  delete request.raw_input_contents;
  request.inputs[0].contents = { fp32_contents: row(7) };
  checkRow(await call(inference, 'ModelInfer', request), 'typed-1', 7);
}

async function server({ inference }) {
  assert((await call(inference, 'ServerLive', {})).live, 'not live');
  assert((await call(inference, 'ServerReady', {})).ready, 'not ready');
  const { name, extensions } = await call(inference, 'ServerMetadata', {});
  assert(name && extensions.includes('binary_tensor_data'), `${name}: ${extensions}`);
}

async function model({ inference }) {
  assert((await call(inference, 'ModelReady', { name: 'plus_one', version: '1' })).ready, 'not ready');
  const { versions, inputs, outputs } = await call(inference, 'ModelMetadata', { name: 'plus_one' });
  assert(`${versions}` === '1' && inputs.length === 1 && outputs.length === 1, `${versions}`);
  assert(inputs[0].name === 'ROW' && inputs[0].datatype === 'FP32' && `${inputs[0].shape}` === '-1,4', JSON.stringify(inputs));
}

async function binaryMetadata({ inference }) {
  const metadata = new Metadata();
  metadata.add('trace-bin', Buffer.from([0, 1, 254, 255, 13, 10, 44]));
  metadata.add('trace-bin', Buffer.alloc(0));
  metadata.add('x-text', 'plain');
  checkRow(await call(inference, 'ModelInfer', rowRequest('bin', 3), { metadata }), 'bin', 3);
}

async function notFound({ inference }) {
  await refused(call(inference, 'ModelInfer', { ...rowRequest('lost', 1), model_name: ODD_NAME }), status.NOT_FOUND, ODD_NAME);
}

async function invalidArgument({ inference }) {
  const request = rowRequest('wrong', 1);
  request.inputs[0].name = 'größe\n%';
  await refused(call(inference, 'ModelInfer', request), status.INVALID_ARGUMENT, 'größe');
  const short = { ...rowRequest('short', 1), raw_input_contents: [floats(1, 2, 3)] };
  await refused(call(inference, 'ModelInfer', short), status.INVALID_ARGUMENT, 'ROW');
}

async function unimplemented({ inference }) {
  await refused(call(inference, 'SystemSharedMemoryRegister', { name: 'region' }), status.UNIMPLEMENTED);
  const unknown = new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    inference.makeUnaryRequest(`/${SERVICE}/NoSuchCall`, () => Buffer.alloc(0), (bytes) => bytes, {}, done);
  });
  await refused(unknown, status.UNIMPLEMENTED);
}

async function largeOutput({ inference }) {
  const request = { model_name: 'ramp', inputs: [input('START', 2, 1)], raw_input_contents: [floats(5, 9)] };
  const answer = await call(inference, 'ModelInfer', request);
  const want = Float32Array.from({ length: 2 * 65536 }, (_, i) => (i < 65536 ? 5 + i : 9 + i - 65536));
  assert(Buffer.from(want.buffer).equals(answer.raw_output_contents[0]), `${answer.raw_output_contents[0].length} bytes`);
}

export async function tensor2MiB({ inference }) {
  const sent = Buffer.from(Float32Array.from({ length: 1 << 19 }, (_, i) => i / 3).buffer);
  const answer = await call(inference, 'ModelInfer', {
    model_name: 'echo', inputs: [input('DATA', 1, 1 << 19)], raw_input_contents: [sent],
  });
  assert(sent.equals(answer.raw_output_contents[0]), 'another tensor came back');
}

async function concurrent200({ inference }) {
  const calls = Array.from({ length: 200 }, async (_, i) => {
    checkRow(await call(inference, 'ModelInfer', rowRequest(`row-${i}`, 10 * i)), `row-${i}`, 10 * i);
  });
  const failures = (await Promise.allSettled(calls)).filter((call) => call.status === 'rejected');
  assert(failures.length === 0, `${failures.length} of 200 failed, the first: ${failures[0]?.reason.message}`);
}

export const checks = Object.entries({
  server, model, 'infer-raw': inferRaw, 'infer-typed': inferTyped, 'binary-metadata': binaryMetadata, 'not-found': notFound,
  'invalid-argument': invalidArgument, unimplemented, 'large-output': largeOutput, 'tensor-2mib': tensor2MiB,
  'concurrent-200': concurrent200,
});
