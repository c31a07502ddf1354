// The three services, loaded from their .proto files, and promises around their calls.

import { createRequire } from 'node:module';
import path from 'node:path';
import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const require = createRequire(import.meta.url);
const OPTIONS = { keepCase: true, longs: Number, defaults: true, oneofs: true, enums: String };

function load(file, folder) {
  return loadPackageDefinition(loadSync(file, { ...OPTIONS, includeDirs: [folder] }));
}

const shipped = (name, file) => path.join(path.dirname(require.resolve(`${name}/package.json`)), file);
const { inference } = load('inference.proto', process.env.PROTO);
const { health } = load('health.proto', shipped('grpc-health-check', 'proto/health/v1')).grpc;
const { reflection } = load('reflection.proto', shipped('@grpc/reflection', 'build/proto/grpc/reflection/v1')).grpc;

export const SERVICE = 'inference.GRPCInferenceService';

/** Stubs of one target; those of one target and equal options share a channel. */
export function connect(target, trust, options = {}) {
  return {
    inference: new inference.GRPCInferenceService(target, trust, options),
    health: new health.v1.Health(target, trust, options),
    reflection: new reflection.v1.ServerReflection(target, trust, options),
  };
}

/** The answer of one unary call. Rejects with grpc-js's error, which has `code` and `details`. */
export function call(stub, method, request, { metadata, options = {}, started = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    const args = metadata ? [request, metadata, options, done] : [request, options, done];
    started(stub[method](...args));
  });
}

/** The messages of a stream, one `next()` at a time; throws the stream's error. */
export function messages(stream) {
  return stream[Symbol.asyncIterator]();
}

export function assert(condition, text) {
  if (!condition) throw new Error(text);
}

/** `promise` must fail with `code` and a text that contains `part`. */
export async function refused(promise, code, part = '') {
  let answer;
  try {
    answer = await promise;
  } catch (error) {
    assert(error.code === code && error.details.includes(part), `got ${error.code} ${error.details}, want ${code} with ${part}`);
    return;
  }
  throw new Error(`answered ${JSON.stringify(answer).slice(0, 200)}, want ${code}`);
}
