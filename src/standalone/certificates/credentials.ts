import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { ADMIN_GROUP } from '../http/identity.ts';
import { Authority, type CertificateRequest } from './authority.ts';
import { type KeyPair, newPrivateKey, renewalTime } from './key-pair.ts';
import { coversNames, writePrivateFile } from './kubeconfig.ts';

export interface CredentialsOptions {
  /** The folder of keys and certificates; made with mode 0700. */
  readonly folder: string;
  /** DNS names and addresses that the server answers to. */
  readonly serverNames: readonly string[];
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];
const SERVICE_NAMES = [
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
];

/** Everything secret that the embedded API has: made once, kept in one folder, renewed before it expires. */
export class Credentials {
  readonly authority: Authority;
  /** Signs service account tokens. */
  readonly tokenKey: string;
  /** The node's bearer token. */
  readonly nodeToken: string;
  private readonly options: CredentialsOptions;
  private readonly clock: Clock;

  private constructor(
    options: CredentialsOptions,
    clock: Clock,
    authority: Authority,
    tokenKey: string,
    nodeToken: string,
  ) {
    this.options = options;
    this.clock = clock;
    this.authority = authority;
    this.tokenKey = tokenKey;
    this.nodeToken = nodeToken;
  }

  static async load(options: CredentialsOptions, deps: { readonly clock: Clock }): Promise<Credentials> {
    const { folder } = options;
    const { clock } = deps;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const pair = await keptPair(folder, 'ca', clock, () => Authority.create('deckhand-ca', clock));
    const tokenKey = await keptText(join(folder, 'service-account.key'), newPrivateKey);
    const nodeToken = await keptText(join(folder, 'node.token'), async () => randomBytes(32).toString('hex'));
    return new Credentials(options, clock, new Authority(pair, { clock }), tokenKey, nodeToken.trim());
  }

  /** The certificate that the server shows. */
  server(): Promise<KeyPair> {
    const names = [...new Set([...LOOPBACK, ...SERVICE_NAMES, ...this.options.serverNames])];
    const ipAddresses = names.filter((name) => isIP(name) !== 0);
    const dnsNames = names.filter((name) => isIP(name) === 0);
    const request: CertificateRequest = { commonName: 'kube-apiserver', usage: 'server', dnsNames, ipAddresses };
    return this.kept('apiserver', request, (pair) => coversNames(pair.certificate, dnsNames, ipAddresses));
  }

  /** The administrator's client certificate. */
  admin(): Promise<KeyPair> {
    return this.kept('admin', { commonName: 'kubernetes-admin', organizations: [ADMIN_GROUP], usage: 'client' });
  }

  /** Shown by this server to the node's HTTPS API (logs, exec). */
  kubeletClient(): Promise<KeyPair> {
    const request = {
      commonName: 'kube-apiserver-kubelet-client',
      organizations: [ADMIN_GROUP],
      usage: 'client',
    } as const;
    return this.kept('apiserver-kubelet-client', request);
  }

  private kept(name: string, request: CertificateRequest, fits?: (pair: KeyPair) => boolean): Promise<KeyPair> {
    const ours = (pair: KeyPair): boolean => isSignedBy(pair, this.authority.pair) && (fits?.(pair) ?? true);
    return keptPair(this.options.folder, name, this.clock, () => this.authority.issue(request), ours);
  }
}

async function keptPair(
  folder: string,
  name: string,
  clock: Clock,
  make: () => Promise<KeyPair>,
  fits: (pair: KeyPair) => boolean = () => true,
): Promise<KeyPair> {
  const [certificatePath, keyPath] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const certificate = await readOptional(certificatePath);
  const key = await readOptional(keyPath);
  if (certificate !== undefined && key !== undefined && isUsable({ certificate, key }, clock, fits)) {
    return { certificate, key };
  }
  const pair = await make();
  await writePrivateFile(keyPath, pair.key);
  await writePrivateFile(certificatePath, pair.certificate);
  return pair;
}

// A crash between the two writes leaves a certificate that is not the key's: both are then made anew.
function isUsable(pair: KeyPair, clock: Clock, fits: (pair: KeyPair) => boolean): boolean {
  try {
    const certificate = new X509Certificate(pair.certificate);
    return (
      certificate.checkPrivateKey(createPrivateKey(pair.key)) &&
      renewalTime(pair.certificate) > clock.now() &&
      fits(pair)
    );
  } catch {
    return false;
  }
}

function isSignedBy(pair: KeyPair, authority: KeyPair): boolean {
  return new X509Certificate(pair.certificate).verify(new X509Certificate(authority.certificate).publicKey);
}

async function keptText(path: string, make: () => Promise<string>): Promise<string> {
  const kept = await readOptional(path);
  if (kept !== undefined && kept !== '') return kept;
  const text = await make();
  await writePrivateFile(path, text);
  return text;
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
