// What lies under the calls: TLS and keepalive.

import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { connectivityState, credentials } from '@grpc/grpc-js';
import { assert, call, connect } from './services.js';
import { inferRaw, tensor2MiB } from './unary.js';

async function tls() {
  const trust = credentials.createSsl(readFileSync(process.env.CA_FILE));
  const secure = connect(process.env.TLS_TARGET, trust, { 'grpc.ssl_target_name_override': 'localhost' });
  await inferRaw(secure);
  await tensor2MiB(secure);
  secure.inference.close();
}

/** A connection that pings every 500 ms without a call never leaves READY. */
export async function keepalivePings() {
  const options = {
    'grpc.keepalive_time_ms': 500, 'grpc.keepalive_timeout_ms': 400, 'grpc.keepalive_permit_without_calls': 1,
    'grpc.use_local_subchannel_pool': 1,
  };
  const { inference } = connect(process.env.TARGET, credentials.createInsecure(), options);
  await call(inference, 'ServerLive', {});
  const channel = inference.getChannel();
  let left = null;
  channel.watchConnectivityState(connectivityState.READY, Infinity, () => { left = channel.getConnectivityState(false); });
  await pause(10_000);
  assert(left === null, `the connection went to ${left === null ? '' : connectivityState[left]}`);
  await call(inference, 'ServerLive', {});
  inference.close();
}

export const checks = Object.entries({ tls });
