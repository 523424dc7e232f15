import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HarnessRun, StartedProcess } from './harness-run.ts';
import type { ImageArchive } from './images.ts';
import type { NetnsDialer } from './netns-dialer.ts';
import { projectRoot } from './project-root.ts';
import { runCommand } from './run-command.ts';
import { waitFor } from './wait-for.ts';

/** Who may pull what is at or below a path; "" is everything. Without a rule anybody may. */
export interface RegistryRule {
  readonly path: string;
  readonly scheme: 'none' | 'basic' | 'bearer';
  /** Passwords by user. */
  readonly users: Readonly<Record<string, string>>;
}

/** One request that the registry answered. */
export interface RegistryRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Who asked, by Basic credentials or by the token's owner; "" is nobody. */
  readonly user: string;
}

interface PublishedImage {
  readonly repository: string;
  readonly tag: string;
  /** The manifest's. */
  readonly digest: string;
  readonly layout: string;
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

interface Manifest {
  readonly config: Descriptor;
}

const PORT = 5000;

/**
 * A real image registry on the loopback of a node's network namespace: containerd pulls from "127.0.0.1:5000/…" over
 * plain HTTP, as it does from loopback without being told.
 */
export class Registry {
  /** What image names begin with. */
  readonly host = `127.0.0.1:${PORT}`;
  private readonly run: HarnessRun;
  private readonly settingsFile: string;
  private readonly accessLog: string;
  private readonly images: PublishedImage[] = [];
  private readonly layouts = new Map<string, Promise<string>>();
  private rules: readonly RegistryRule[] = [];
  private outage: number | undefined;
  private process: StartedProcess | undefined;

  private constructor(run: HarnessRun) {
    this.run = run;
    this.settingsFile = `${run.paths.libDir}/registry/settings.json`;
    this.accessLog = `${run.paths.libDir}/registry/access.log`;
  }

  static async start(run: HarnessRun, netns: string, dialer: NetnsDialer): Promise<Registry> {
    const registry = new Registry(run);
    mkdirSync(`${run.paths.libDir}/registry`, { recursive: true });
    registry.write();
    const server = join(projectRoot(), 'test', 'harness', 'registry-server.mjs');
    registry.process = run.spawn('registry', [process.execPath, server, registry.settingsFile], { netns });
    const up = async (): Promise<boolean> => (await dialer.request(`http://${registry.host}/v2/`)).status === 200;
    await waitFor('the registry to answer', up, { intervalMs: 50 });
    return registry;
  }

  /** Offers an image under another name; returns that name and the manifest's digest. */
  async publish(archive: ImageArchive, repository: string, tag: string): Promise<{ name: string; digest: string }> {
    const layout = await this.layoutOf(archive);
    const { manifests } = this.json<{ manifests: Descriptor[] }>(`${layout}/index.json`);
    const manifest = this.json<Manifest>(blobPath(layout, manifests[0]?.digest ?? ''));
    const config = this.json<object>(blobPath(layout, manifest.config.digest));
    // A label of its own makes it another image, with an id of its own.
    const labelled = { ...config, created: '2026-01-01T00:00:00Z', author: `${repository}:${tag}` };
    const changed = { ...manifest, config: { ...manifest.config, ...addBlob(layout, labelled) } };
    const { digest } = addBlob(layout, changed);
    this.images.push({ repository, tag, digest, layout });
    this.write();
    return { name: `${this.host}/${repository}:${tag}`, digest };
  }

  protect(...rules: readonly RegistryRule[]): void {
    this.rules = rules;
    this.write();
  }

  /** Answers everything with this HTTP status; undefined: as it should. */
  breakDown(status: number | undefined): void {
    this.outage = status;
    this.write();
  }

  /** What was asked for so far, the oldest first. */
  requests(): RegistryRequest[] {
    if (!existsSync(this.accessLog)) return [];
    const lines = readFileSync(this.accessLog, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as RegistryRequest);
  }

  async stop(): Promise<void> {
    if (this.process !== undefined) await this.run.stop(this.process);
  }

  private layoutOf(archive: ImageArchive): Promise<string> {
    let layout = this.layouts.get(archive.path);
    if (layout === undefined) {
      const directory = `${this.run.paths.libDir}/registry/layout-${this.layouts.size}`;
      mkdirSync(directory);
      layout = runCommand(['tar', '-xf', archive.path, '-C', directory]).then(() => directory);
      this.layouts.set(archive.path, layout);
    }
    return layout;
  }

  private json<T>(path: string): T {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  }

  private write(): void {
    const { images, rules, outage, accessLog } = this;
    // Whole or not at all: the registry reads it at any time.
    writeFileSync(`${this.settingsFile}.new`, JSON.stringify({ port: PORT, accessLog, images, rules, outage }));
    renameSync(`${this.settingsFile}.new`, this.settingsFile);
  }
}

function blobPath(layout: string, digest: string): string {
  return `${layout}/blobs/${digest.replace(':', '/')}`;
}

function addBlob(layout: string, content: object): Descriptor {
  const bytes = Buffer.from(JSON.stringify(content));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  writeFileSync(blobPath(layout, digest), bytes);
  return { digest, size: bytes.length };
}
