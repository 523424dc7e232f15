// discover-ca.mjs https://ADDRESS:PORT ID.SECRET: prints the cluster's CA. The API server tells it to everybody (ConfigMap
// cluster-info in kube-public), signed with each bootstrap token: who knows the token knows that nobody in between has
// changed it. As `kubeadm join --discovery-token … --discovery-token-unsafe-skip-ca-verification` does.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { get } from 'node:https';

const PATH = '/api/v1/namespaces/kube-public/configmaps/cluster-info';
const ATTEMPTS = 60;
const PAUSE_MS = 5000;
const TIMEOUT_MS = 10_000;

const [server = '', token = ''] = process.argv.slice(2);
const [, id, secret] = /^([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(token) ?? [];
if (!URL.canParse(server) || id === undefined) {
  fail('usage: discover-ca.mjs https://ADDRESS:PORT TOKEN, a bootstrap token such as abcdef.0123456789abcdef', 2);
}

for (let attempt = 1; ; attempt++) {
  try {
    const ca = certificateOf(verified(JSON.parse(await read({ rejectUnauthorized: false }))));
    // What was proved is the CA; that this server's certificate is of it shows whether it is of use.
    await read({ ca });
    process.stdout.write(ca);
    process.exit(0);
  } catch (error) {
    const wrong = error instanceof Error && 'final' in error;
    if (wrong || attempt >= ATTEMPTS) fail(error instanceof Error ? error.message : String(error), 1);
    console.error(
      `discover-ca: ${error instanceof Error ? error.message : error}; trying again in ${PAUSE_MS / 1000} s`,
    );
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** The kubeconfig in it; throws when the token's signature is missing (it may still come) or wrong (it is final). */
function verified({ data = {} }) {
  const kubeconfig = data.kubeconfig;
  const signature = data[`jws-kubeconfig-${id}`];
  if (typeof kubeconfig !== 'string' || typeof signature !== 'string') {
    throw new Error(`cluster-info is not signed with the token ${id}`);
  }
  // A detached JWS (RFC 7515, appendix F): header..signature, the payload is the kubeconfig.
  const [header = '', , mac = ''] = signature.split('.');
  const { alg, kid } = JSON.parse(Buffer.from(header, 'base64url').toString());
  const payload = Buffer.from(kubeconfig).toString('base64url');
  const own = createHmac('sha256', secret).update(`${header}.${payload}`).digest();
  const theirs = Buffer.from(mac, 'base64url');
  if (alg !== 'HS256' || kid !== id || theirs.length !== own.length || !timingSafeEqual(own, theirs)) {
    throw Object.assign(new Error(`the signature of cluster-info is not that of the token ${id}`), { final: true });
  }
  return kubeconfig;
}

function certificateOf(kubeconfig) {
  const data = /certificate-authority-data:\s*"?([A-Za-z0-9+/=]+)/.exec(kubeconfig)?.[1];
  if (data === undefined) throw Object.assign(new Error('cluster-info names no CA'), { final: true });
  return Buffer.from(data, 'base64').toString();
}

function read(options) {
  return new Promise((resolve, reject) => {
    const request = get(new URL(PATH, server), { ...options, agent: false, timeout: TIMEOUT_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200
          ? resolve(body)
          : reject(new Error(`${server}${PATH} answers ${response.statusCode}`)),
      );
    });
    request.on('timeout', () => request.destroy(new Error(`${server} does not answer`)));
    request.on('error', reject);
  });
}

function fail(message, code) {
  console.error(`discover-ca: ${message}`);
  process.exit(code);
}
