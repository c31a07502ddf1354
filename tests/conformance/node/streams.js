// Streaming calls, and calls that end early.

import { setTimeout as pause } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { SERVICE, assert, call, messages, refused } from './services.js';
import { ODD_NAME, checkRow, inferRaw, rowRequest } from './unary.js';

async function stream({ inference }) {
  const calls = inference.ModelStreamInfer();
  const answers = messages(calls);
  for (let i = 0; i < 3; i += 1) { // each answered before the next is sent
    calls.write(rowRequest(`turn-${i}`, i));
    checkRow((await answers.next()).value.infer_response, `turn-${i}`, i);
  }
  for (let i = 0; i < 20; i += 1) calls.write(rowRequest(`burst-${i}`, 100 + i)); // all sent before the first is read
  calls.end();
  const seen = new Set();
  for (let answer = await answers.next(); !answer.done; answer = await answers.next()) {
    const { id } = answer.value.infer_response;
    checkRow(answer.value.infer_response, id, 100 + Number(id.slice('burst-'.length)));
    seen.add(id);
  }
  assert(seen.size === 20, `${seen.size} of 20 answered`);
}

async function streamError({ inference }) { // a message that fails is answered with a text, and the stream goes on
  const calls = inference.ModelStreamInfer();
  const answers = messages(calls);
  calls.write({ ...rowRequest('bad', 1), model_name: ODD_NAME });
  calls.write(rowRequest('good', 2));
  calls.end();
  const [bad, good, end] = [await answers.next(), await answers.next(), await answers.next()];
  assert(bad.value.error_message !== '', 'the bad message was answered without a text');
  assert(good.value.error_message === '', good.value.error_message);
  checkRow(good.value.infer_response, 'good', 2);
  assert(end.done, 'a third answer');
}

async function streamEmpty({ inference }) {
  const calls = inference.ModelStreamInfer();
  calls.end();
  assert((await messages(calls).next()).done, 'an answer to nothing');
}

async function healthCheck({ health }) {
  for (const service of ['', SERVICE]) {
    const answer = await call(health, 'Check', { service });
    assert(answer.status === 'SERVING', `${service}: ${answer.status}`);
  }
  await refused(call(health, 'Check', { service: 'no.such.Service' }), status.NOT_FOUND);
}

async function healthWatch({ health }) {
  for (const [service, want] of [['', 'SERVING'], ['no.such.Service', 'SERVICE_UNKNOWN']]) {
    const watch = health.Watch({ service });
    const answers = messages(watch);
    const answer = await answers.next();
    assert(answer.value.status === want, `${service}: ${answer.value?.status}`);
    watch.cancel();
    await refused(answers.next(), status.CANCELLED);
  }
}

async function reflection(stubs) {
  const calls = stubs.reflection.ServerReflectionInfo();
  const answers = messages(calls);
  calls.write({ list_services: '' });
  const names = (await answers.next()).value.list_services_response.service.map(({ name }) => name);
  assert(names.includes(SERVICE) && names.includes('grpc.health.v1.Health'), `${names}`);
  calls.write({ file_containing_symbol: SERVICE });
  const { file_descriptor_response: files } = (await answers.next()).value;
  assert(files.file_descriptor_proto.some((file) => file.includes('GRPCInferenceService')), 'no file with the service');
  calls.end();
  assert((await answers.next()).done, 'an answer too many');
}

const slowRequest = (steps) => ({
  model_name: process.env.SLOW_MODEL,
  inputs: [{ name: 'STEPS', datatype: 'FP32', shape: [1, 1] }],
  raw_input_contents: [Buffer.from(new Float32Array([steps]).buffer)],
});

async function deadline({ inference }) {
  const start = performance.now();
  const options = { deadline: Date.now() + 200 };
  await refused(call(inference, 'ModelInfer', slowRequest(3000), { options }), status.DEADLINE_EXCEEDED);
  assert(performance.now() - start < 1000, `answered after ${performance.now() - start} ms`);
}

async function cancel(stubs) { // in the middle of a run; its neighbours on the channel are served meanwhile and after
  const started = (running) => setTimeout(() => running.cancel(), 100);
  const slow = refused(call(stubs.inference, 'ModelInfer', slowRequest(3000), { started }), status.CANCELLED);
  for (let i = 0; i < 50; i += 1) {
    checkRow(await call(stubs.inference, 'ModelInfer', rowRequest('neighbour', i)), 'neighbour', i);
    await pause(4);
  }
  await slow;
}

async function cancelStream(stubs) {
  const calls = stubs.inference.ModelStreamInfer();
  const answers = messages(calls);
  calls.write(rowRequest('first', 1));
  checkRow((await answers.next()).value.infer_response, 'first', 1);
  calls.cancel();
  await refused(answers.next(), status.CANCELLED);
  await inferRaw(stubs);
}

export const checks = Object.entries({
  stream, 'stream-error': streamError, 'stream-empty': streamEmpty, 'health-check': healthCheck, 'health-watch': healthWatch,
  reflection, deadline, cancel, 'cancel-stream': cancelStream,
});
