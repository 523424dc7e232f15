import { createHash, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../kit/clock.ts';
import type { Caller, ClientAuthorities } from './port.ts';

interface Known {
  /** Of the authorities that the certificate was checked against. */
  generation: number;
  readonly caller: Caller;
  readonly notBefore: number;
  readonly notAfter: number;
}

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
const LONGEST_CHAIN = 8;

/**
 * Tells callers by their client certificate: common name and organizations. A connection may outlive both its
 * certificate and the authorities that it was checked against, so that each request is looked at anew.
 */
export class ClientCertificates {
  private readonly authorities: ClientAuthorities;
  private readonly clock: Pick<Clock, 'now'>;
  private readonly known = new WeakMap<TLSSocket, Known | 'refused'>();
  private roots: readonly X509Certificate[] = [];
  private generation = 0;

  constructor(authorities: ClientAuthorities, deps: { readonly clock: Pick<Clock, 'now'> }) {
    this.authorities = authorities;
    this.clock = deps.clock;
    this.reload();
  }

  /** The authorities have changed. Throws what a certificate that cannot be read throws. */
  reload(): void {
    this.roots = (this.authorities.current()?.match(PEM) ?? []).map((block) => new X509Certificate(block));
    this.generation++;
  }

  /** After the handshake, which has checked the certificate against the authorities of that moment. */
  accept(socket: TLSSocket): void {
    const leaf = socket.getPeerX509Certificate();
    if (leaf === undefined) return;
    const subject = socket.getPeerCertificate().subject as { CN?: string; O?: string | string[] } | undefined;
    if (!socket.authorized || subject?.CN === undefined || typeof subject.CN !== 'string') {
      this.known.set(socket, 'refused');
      return;
    }
    const groups = subject.O === undefined ? [] : typeof subject.O === 'string' ? [subject.O] : subject.O;
    const digest = createHash('sha256').update(leaf.raw).digest('hex');
    this.known.set(socket, {
      generation: this.generation,
      caller: {
        username: subject.CN,
        groups: [...groups, 'system:authenticated'],
        // apiserver request/x509 CommonNameUserConversion
        extra: { 'authentication.kubernetes.io/credential-id': [`X509SHA256=${digest}`] },
      },
      notBefore: Date.parse(leaf.validFrom),
      notAfter: Date.parse(leaf.validTo),
    });
  }

  /** undefined: no certificate was shown. refused: one that is no good, or no longer. */
  callerOf(socket: TLSSocket): Caller | 'refused' | undefined {
    const known = this.known.get(socket);
    if (known === undefined || known === 'refused') return known;
    const now = this.clock.now();
    if (now < known.notBefore || now >= known.notAfter) return 'refused';
    if (known.generation !== this.generation) {
      if (!leadsTo(this.roots, chainOf(socket), now)) {
        this.known.set(socket, 'refused');
        return 'refused';
      }
      known.generation = this.generation;
    }
    return known.caller;
  }
}

/** What the caller showed: its own certificate first. */
function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<string>();
  let at = socket.getPeerCertificate(true);
  while (at?.raw !== undefined && chain.length < LONGEST_CHAIN && !seen.has(at.fingerprint256)) {
    seen.add(at.fingerprint256);
    chain.push(new X509Certificate(at.raw));
    at = at.issuerCertificate;
  }
  return chain;
}

/** Whether signatures lead from the first certificate to one of the roots, over valid authorities. */
function leadsTo(roots: readonly X509Certificate[], chain: readonly X509Certificate[], now: number): boolean {
  const isGood = (issuer: X509Certificate, of: X509Certificate): boolean =>
    of.checkIssued(issuer) &&
    of.verify(issuer.publicKey) &&
    Date.parse(issuer.validFrom) <= now &&
    now < Date.parse(issuer.validTo);
  for (const [index, certificate] of chain.entries()) {
    if (roots.some((root) => isGood(root, certificate))) return true;
    const next = chain[index + 1];
    if (next === undefined || !next.ca || !isGood(next, certificate)) return false;
  }
  return false;
}
