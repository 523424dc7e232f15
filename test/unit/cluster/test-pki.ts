import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** An authority in a folder of its own, and certificates that it signs. Valid for two days. */
export class TestPki {
  readonly dir = mkdtempSync(join(tmpdir(), 'dhpki-'));
  readonly ca: string;

  constructor() {
    const subject = ['-days', '2', '-subj', '/CN=test-ca'];
    this.openssl('req', '-x509', ...NEW_KEY, ...subject, '-keyout', 'ca.key', '-out', 'ca.crt');
    this.ca = this.read('ca.crt');
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Files NAME.crt and NAME.key. */
  server(name = 'server'): Pair {
    return this.signed(name, 'subjectAltName=DNS:localhost,IP:127.0.0.1');
  }

  /** Subject CN=NAME. */
  client(name: string): Pair {
    return this.signed(name, 'extendedKeyUsage=clientAuth');
  }

  close(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  private signed(name: string, extension: string): Pair {
    writeFileSync(this.path(`${name}.ext`), extension);
    this.openssl('req', ...NEW_KEY, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
    this.openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-out', `${name}.crt`, '-extfile', `${name}.ext`);
    return { cert: this.read(`${name}.crt`), key: this.read(`${name}.key`) };
  }

  private read(name: string): string {
    return readFileSync(this.path(name), 'utf8');
  }

  private openssl(...args: string[]): void {
    execFileSync('openssl', args, { stdio: 'ignore', cwd: this.dir });
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
