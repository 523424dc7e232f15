import { createHash } from 'node:crypto';
import { type TarEntry, tarArchive } from './tar-archive.ts';

export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly WorkingDir?: string;
  readonly User?: string;
  readonly StopSignal?: string;
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>>;
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  riscv64: 'riscv64',
};

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** One OCI image layout as a tar archive (image-spec v1.0, image-layout.md) with a single uncompressed layer. */
export function ociImage(reference: string, entries: readonly TarEntry[], config: ImageConfig): Buffer {
  const architecture = ARCHITECTURES[process.arch] ?? process.arch;
  const layer = tarArchive(entries);
  const configBlob = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
      history: [{ created: '2026-01-01T00:00:00Z', created_by: 'deckhand test/harness' }],
    }),
  );
  const descriptor = (mediaType: string, blob: Buffer) => ({
    mediaType,
    digest: `sha256:${sha256(blob)}`,
    size: blob.length,
  });
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: descriptor('application/vnd.oci.image.config.v1+json', configBlob),
      layers: [descriptor('application/vnd.oci.image.layer.v1.tar', layer)],
    }),
  );
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          ...descriptor(manifestType, manifest),
          annotations: { 'io.containerd.image.name': reference, 'org.opencontainers.image.ref.name': reference },
          platform: { architecture, os: 'linux' },
        },
      ],
    }),
  );
  const blob = (content: Buffer): TarEntry => ({ type: 'file', path: `blobs/sha256/${sha256(content)}`, content });
  return tarArchive([
    { type: 'file', path: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    { type: 'file', path: 'index.json', content: index },
    blob(layer),
    blob(configBlob),
    blob(manifest),
  ]);
}
