// An image registry (OCI distribution-spec v1.1, pull only) on loopback, run inside a node's network namespace by
// registry.ts. argv: the settings file, which is read again for each request, so that a test changes rules by writing it.
import { randomBytes } from 'node:crypto';
import { appendFileSync, createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const settingsFile = process.argv[2];
const tokens = new Map();

const settings = () => JSON.parse(readFileSync(settingsFile, 'utf8'));

function answer(response, status, body, headers = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    'Docker-Distribution-Api-Version': 'registry/2.0',
    ...headers,
  });
  response.end(text);
}

const failure = (response, status, code, message, headers) =>
  answer(response, status, { errors: [{ code, message }] }, headers);

/** "user:password" of a Basic header; undefined without one. */
function basicOf(header) {
  const [, encoded] = /^Basic (.+)$/i.exec(header ?? '') ?? [];
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString('utf8');
}

/** Who may pull is said for a repository or for all below a path; the longest one that fits counts. */
function ruleOf({ rules }, repository) {
  const fitting = rules.filter(({ path }) => repository === path || repository.startsWith(`${path}/`) || path === '');
  return fitting.sort((one, other) => other.path.length - one.path.length)[0] ?? { scheme: 'none', users: {} };
}

const knows = (rule, user, password) => Object.hasOwn(rule.users, user) && rule.users[user] === password;

/** Notes who asks; false after a refusal was sent. */
function admits(request, response, now, repository) {
  const rule = ruleOf(now, repository);
  if (rule.scheme === 'none') return true;
  if (rule.scheme === 'basic') {
    const [user = '', ...rest] = (basicOf(request.headers.authorization) ?? '').split(':');
    request.who = user;
    if (knows(rule, user, rest.join(':'))) return true;
    failure(response, 401, 'UNAUTHORIZED', 'authentication required', {
      'WWW-Authenticate': 'Basic realm="test registry"',
    });
    return false;
  }
  const [, token = ''] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? [];
  const grant = tokens.get(token);
  request.who = grant?.user ?? '';
  if (grant?.repository === repository) return true;
  const scope = `repository:${repository}:pull`;
  failure(response, 401, 'UNAUTHORIZED', 'authentication required', {
    'WWW-Authenticate': `Bearer realm="http://${request.headers.host}/token",service="test",scope="${scope}"`,
  });
  return false;
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
}

async function giveToken(request, response, now, url) {
  const form = request.method === 'POST' ? await bodyOf(request) : url.searchParams;
  const repository = /^repository:(.+):pull/.exec(form.get('scope') ?? '')?.[1] ?? '';
  const [user = '', ...rest] = (basicOf(request.headers.authorization) ?? '').split(':');
  const name = form.get('username') ?? user;
  const password = form.get('password') ?? rest.join(':');
  request.who = name;
  if (!knows(ruleOf(now, repository), name, password)) {
    failure(response, 401, 'UNAUTHORIZED', 'incorrect username or password');
    return;
  }
  const token = randomBytes(16).toString('hex');
  tokens.set(token, { repository, user: name });
  answer(response, 200, { token, access_token: token, expires_in: 300 });
}

function sendBlob(request, response, layout, digest, mediaType) {
  const file = `${layout}/blobs/${digest.replace(':', '/')}`;
  if (!/^sha256:[0-9a-f]{64}$/.test(digest) || !existsSync(file)) {
    failure(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    return;
  }
  response.writeHead(200, {
    'Content-Type': mediaType,
    'Content-Length': statSync(file).size,
    'Docker-Content-Digest': digest,
  });
  if (request.method === 'HEAD') response.end();
  else createReadStream(file).pipe(response);
}

async function handle(request, response, url) {
  const now = settings();
  if (now.outage !== undefined) {
    failure(response, now.outage, 'UNKNOWN', 'the registry is out of order');
    return;
  }
  if (url.pathname === '/token') {
    await giveToken(request, response, now, url);
    return;
  }
  if (url.pathname === '/v2/') {
    answer(response, 200, {});
    return;
  }
  const [, repository, kind, reference] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url.pathname) ?? [];
  if (repository === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) {
    failure(response, 404, 'UNSUPPORTED', 'the operation is unsupported');
    return;
  }
  if (!admits(request, response, now, repository)) return;
  const images = now.images.filter((image) => image.repository === repository);
  const [first] = images;
  const image = images.find(({ tag, digest }) => tag === reference || digest === reference);
  if (first === undefined) failure(response, 404, 'NAME_UNKNOWN', 'repository name not known to registry');
  else if (kind === 'blobs') sendBlob(request, response, first.layout, reference, 'application/octet-stream');
  else if (image === undefined) failure(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
  else sendBlob(request, response, image.layout, image.digest, MANIFEST_TYPE);
}

const { port, accessLog } = settings();
const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://registry');
  response.on('finish', () => {
    const { method, who = '' } = request;
    const line = { method, path: url.pathname, status: response.statusCode, user: who };
    appendFileSync(accessLog, `${JSON.stringify(line)}\n`);
  });
  handle(request, response, url).catch((error) => failure(response, 500, 'UNKNOWN', String(error)));
});
server.listen(port, '127.0.0.1');
