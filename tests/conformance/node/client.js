// Calls the gateway with @grpc/grpc-js, messages loaded at run time by @grpc/proto-loader.
// Prints one line per check: "ok NAME" or "FAIL NAME: REASON".
//
// Environment: TARGET and TLS_TARGET (host:port), CA_FILE (PEM), SLOW_MODEL (the copy of the slow model that is ours alone),
// PROTO (the folder with inference.proto).

import { credentials } from '@grpc/grpc-js';
import { connect } from './services.js';
import * as unary from './unary.js';
import * as streams from './streams.js';
import * as transport from './transport.js';

const CHECK_TIMEOUT_MS = 30_000;
let failed = 0;

function limited(promise) {
  let timer;
  const expired = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${CHECK_TIMEOUT_MS} ms`)), CHECK_TIMEOUT_MS);
  });
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer));
}

async function report(name, promise) {
  try {
    await limited(promise);
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${JSON.stringify(String(error.message ?? error))}`);
  }
}

const shared = connect(process.env.TARGET, credentials.createInsecure());
const keepalive = limited(transport.keepalivePings());
keepalive.catch(() => {}); // reported below
for (const [name, check] of [...unary.checks, ...streams.checks, ...transport.checks]) {
  await report(name, check(shared));
}
await report('keepalive', keepalive);
process.exit(failed ? 1 : 0);
