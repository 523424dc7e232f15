import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from '../../../src/config/load-config.ts';

const dir = mkdtempSync(join(tmpdir(), 'deckhand-reserved-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('reservedSystemCPUs goes before the amounts of kubeReserved and systemReserved', async () => {
  const path = join(dir, 'kubelet.yaml');
  writeFileSync(
    path,
    JSON.stringify({
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      reservedSystemCPUs: '0-1,4',
      kubeReserved: { cpu: '500m', memory: '1Gi' },
      systemReserved: { cpu: '250m', memory: '2Gi' },
    }),
  );
  const { config } = await loadConfig({ files: [path], flags: {}, hostname: () => 'n' });
  expect(config.reserved.kube).toEqual({ memory: '1Gi' });
  expect(config.reserved.system).toEqual({ cpu: '3', memory: '2Gi' });
});
