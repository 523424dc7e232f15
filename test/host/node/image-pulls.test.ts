import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RealCri } from '../../../src/host/cri/real.ts';
import type { RuntimeClass, Secret } from '../../../src/model/objects.ts';
import type { Container, Pod, PodSpec } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { BUSYBOX_IMAGE, buildImages } from '../../harness/images.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerStatus } from '../../harness/pod-summary.ts';
import { Registry } from '../../harness/registry.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from './support/manifest.ts';
import { NodePods, refusal } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-images';
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

/** A credential provider that knows plugged/… and fails for broken/…; it notes what it was asked. */
const PLUGIN = (log: string): string => `#!/bin/sh
request=$(cat)
echo "$request" >> ${log}
case "$request" in
*/broken/*) echo "no network" >&2; exit 7 ;;
esac
cat <<END
{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image",
"cacheDuration":"1h","auth":{"127.0.0.1:5000/plugged":{"username":"plug","password":"$SECRET"}}}
END
`;

describe('images from a real registry', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let registry: Registry;
  const paths = { bin: `/run/${NAME}/plugins`, config: `/run/${NAME}/plugins.yaml`, log: `/run/${NAME}/plugin.log` };
  const archive = buildImages().find(({ reference }) => reference === BUSYBOX_IMAGE);

  const publish = async (repository: string, tag = '1') => {
    if (archive === undefined) throw new Error('no busybox image');
    return registry.publish(archive, repository, tag);
  };
  const makeSecret = (name: string, user: string, password: string, host = registry.host) => {
    const auths = { [host]: { auth: Buffer.from(`${user}:${password}`).toString('base64') } };
    return node.deckhand.api.create<Secret>(resources.secrets, {
      metadata: { name, namespace: 'default' },
      type: 'kubernetes.io/dockerconfigjson',
      data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') },
    });
  };
  const run = (name: string, image: string, spec: Partial<PodSpec> = {}, container: Partial<Container> = {}) =>
    pods.create(podOf(name, sh(STAY, { image, ...container }), spec));
  const waitingOf = (pod: Pod) => containerStatus(pod, 'main')?.state?.waiting;
  const waits = (name: string, reason: string) =>
    pods.until(name, `wait with ${reason}`, (pod) => waitingOf(pod)?.reason === reason && waitingOf(pod)?.message);
  const manifestsAsked = (repository: string) =>
    registry.requests().filter(({ path }) => path.startsWith(`/v2/${repository}/manifests/`));

  beforeAll(async () => {
    node = await startNode(NAME, {
      beforeDeckhand: (harness) => {
        mkdirSync(paths.bin, { recursive: true });
        writeFileSync(`${paths.bin}/plug`, PLUGIN(paths.log));
        chmodSync(`${paths.bin}/plug`, 0o755);
        const provider = {
          name: 'plug',
          apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
          matchImages: ['127.0.0.1:5000/plugged', '127.0.0.*:5000/broken'],
          defaultCacheDuration: '0s',
          env: [{ name: 'SECRET', value: 'socket' }],
        };
        const config = {
          apiVersion: 'kubelet.config.k8s.io/v1',
          kind: 'CredentialProviderConfig',
          providers: [provider],
        };
        writeFileSync(paths.config, JSON.stringify(config));
        // The node's own docker config, where kubelet looks for it first.
        mkdirSync(`${harness.paths.libDir}/kubelet`, { recursive: true, mode: 0o750 });
        const auths = { '127.0.0.1:5000/house': { username: 'house', password: 'key' } };
        writeFileSync(`${harness.paths.libDir}/kubelet/config.json`, JSON.stringify({ auths }), { mode: 0o600 });
      },
      deckhand: {
        args: ['--image-credential-provider-config', paths.config, '--image-credential-provider-bin-dir', paths.bin],
      },
    });
    pods = new NodePods(node);
    registry = await Registry.start(node.run, node.netns, node.local);
    registry.protect(
      { path: 'basic', scheme: 'basic', users: { ann: 'right' } },
      { path: 'bearer', scheme: 'bearer', users: { ben: 'right' } },
      { path: 'plugged', scheme: 'basic', users: { plug: 'socket' } },
      { path: 'broken', scheme: 'none', users: {} },
      { path: 'house', scheme: 'basic', users: { house: 'key' } },
    );
    await Promise.all([makeSecret('ann', 'ann', 'right'), makeSecret('ann-wrong', 'ann', 'wrong')]);
    await makeSecret('ben', 'ben', 'right');
  });
  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it.concurrent('are pulled by tag and by digest', async () => {
    const { name, digest } = await publish('open/app');
    const byDigest = `${registry.host}/open/app@${digest}`;
    await run('open-tag', name);
    const pod = await pods.ready('open-tag');
    expect(containerStatus(pod, 'main')).toMatchObject({ image: name, imageID: expect.stringContaining('sha256:') });
    expect((await pods.untilEvent('open-tag', 'Pulling')).message).toBe(`Pulling image "${name}"`);
    expect((await pods.untilEvent('open-tag', 'Pulled')).message).toMatch(
      /^Successfully pulled image ".*" in \S+ \(\S+ including waiting\)\. Image size: \d+ bytes\.$/,
    );
    await run('open-digest', byDigest);
    await pods.ready('open-digest');
  });

  it.concurrent('that need a password are refused without one, in kubelet’s words, and backed off from', async () => {
    const { name } = await publish('basic/refused');
    await run('no-secret', name);
    const message = await waits('no-secret', 'ErrImagePull');
    expect(message).toMatch(
      /^(rpc error: code = \w+ desc = )?failed to pull and unpack image "127\.0\.0\.1:5000\/basic\/refused:1"/,
    );
    expect(await waits('no-secret', 'ImagePullBackOff')).toBe(
      `Back-off pulling image "${name}": ErrImagePull: ${message}`,
    );
    const wanted = [
      `Warning Failed Failed to pull image "${name}": ${message}`,
      'Warning Failed Error: ErrImagePull',
      `Normal BackOff Back-off pulling image "${name}"`,
      'Warning Failed Error: ImagePullBackOff',
    ];
    await waitFor('the events of a refused pull', async () => {
      const events = await pods.events('no-secret');
      const texts = events.map(({ type, reason, message: text }) => `${type} ${reason} ${text}`);
      return wanted.every((text) => texts.includes(text));
    });
  });

  it.concurrent('come with the pod’s secret, also after wrong and missing ones', async () => {
    const { name } = await publish('basic/secret');
    const imagePullSecrets = [{ name: 'nowhere' }, { name: 'ann-wrong' }, { name: 'ann' }];
    await run('right-secret', name, { imagePullSecrets });
    await pods.ready('right-secret');
    expect((await pods.untilEvent('right-secret', 'FailedToRetrieveImagePullSecret')).message).toBe(
      'Unable to retrieve some image pull secrets (nowhere); attempting to pull the image may not succeed.',
    );
    const statuses = manifestsAsked('basic/secret').map(({ user, status }) => `${user} ${status}`);
    expect(statuses).toContain('ann 401');
    expect(statuses).toContain('ann 200');
  });

  it.concurrent('come when the secret that a waiting pod names is made', async () => {
    const { name } = await publish('basic/late');
    await run('late-secret', name, { imagePullSecrets: [{ name: 'late' }] });
    await waits('late-secret', 'ImagePullBackOff');
    await makeSecret('late', 'ann', 'right');
    await pods.ready('late-secret', 60_000);
  });

  it.concurrent('come with a bearer token from the registry’s token service', async () => {
    const { name } = await publish('bearer/app');
    await run('bearer', name, { imagePullSecrets: [{ name: 'ben' }] });
    await pods.ready('bearer');
    expect(manifestsAsked('bearer/app').some(({ user, status }) => user === 'ben' && status === 200)).toBe(true);
    await run('bearer-none', name, {}, { imagePullPolicy: 'Always' });
    await waits('bearer-none', 'ErrImagePull');
  });

  it.concurrent('come with the node’s own docker config', async () => {
    const { name } = await publish('house/app');
    await run('house', name);
    await pods.ready('house');
    expect(manifestsAsked('house/app').some(({ user, status }) => user === 'house' && status === 200)).toBe(true);
  });

  it.concurrent('come with what a credential provider plugin knows; a plugin that fails is done without', async () => {
    const plugged = await publish('plugged/app');
    const broken = await publish('broken/app');
    await Promise.all([run('plugged', plugged.name), run('broken', broken.name)]);
    await Promise.all([pods.ready('plugged'), pods.ready('broken')]);
    const asked = readFileSync(paths.log, 'utf8').trim().split('\n');
    expect(asked.map((line) => JSON.parse(line) as unknown)).toContainEqual({
      kind: 'CredentialProviderRequest',
      apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
      image: '127.0.0.1:5000/plugged/app',
    });
    const failed =
      'error execing credential provider plugin plug for image 127.0.0.1:5000/broken/app: exit status 7: no network';
    await waitFor('the log to tell of it', () => readFileSync(node.deckhand.logFile, 'utf8').includes(failed));
  });

  it.concurrent('stay with pods that have proved access: another one must pull, or has no image', async () => {
    const { name } = await publish('basic/private');
    const own = { imagePullSecrets: [{ name: 'ann' }] };
    await run('tenant-a', name, own);
    await pods.ready('tenant-a');
    const asked = manifestsAsked('basic/private').length;
    await Promise.all([
      run('tenant-a2', name, own, { imagePullPolicy: 'IfNotPresent' }),
      run('tenant-b', name, {}, { imagePullPolicy: 'IfNotPresent' }),
      run('tenant-c', name, {}, { imagePullPolicy: 'Never' }),
    ]);
    await pods.ready('tenant-a2');
    expect((await pods.untilEvent('tenant-a2', 'Pulled')).message).toBe(
      `Container image "${name}" already present on machine and can be accessed by the pod`,
    );
    expect(await waits('tenant-b', 'ErrImagePull')).toContain('basic/private');
    expect(await waits('tenant-c', 'ErrImageNeverPull')).toBe(
      `Container image "${name}" is not present with pull policy of Never`,
    );
    const later = manifestsAsked('basic/private').slice(asked);
    expect(later.length).toBeGreaterThan(0);
    expect(later.every(({ user, status }) => user === '' && status === 401)).toBe(true);
    const records = `${node.run.paths.libDir}/kubelet/image_manager/pulled`;
    const texts = readdirSync(records).map((file) => readFileSync(`${records}/${file}`, 'utf8'));
    expect(texts.some((text) => text.includes('"127.0.0.1:5000/basic/private":{"kubernetesSecrets":[{'))).toBe(true);
  });

  it.concurrent('with policy Always are asked for at each start, and a missing tag is no image', async () => {
    const { name } = await publish('open/always');
    await run('always-1', name, {}, { imagePullPolicy: 'Always' });
    await pods.ready('always-1');
    const asked = manifestsAsked('open/always').length;
    await run('always-2', name, {}, { imagePullPolicy: 'Always' });
    await pods.ready('always-2');
    expect(manifestsAsked('open/always').length).toBeGreaterThan(asked);
    await run('no-tag', `${registry.host}/open/always:nosuch`);
    expect(await waits('no-tag', 'ErrImagePull')).toMatch(
      /^rpc error: code = NotFound desc = failed to pull and unpack/,
    );
  });

  describe('RuntimeClass', () => {
    const makeClass = (name: string, handler: string, more: Partial<RuntimeClass> = {}) =>
      node.deckhand.api.create<RuntimeClass>(resources.runtimeclasses, { metadata: { name }, handler, ...more });

    it.concurrent('names the handler that containerd runs the pod with; its overhead is in the pod’s cgroup', async () => {
      await makeClass('heavy', 'test-handler', {
        overhead: { podFixed: { cpu: '250m', memory: '32Mi' } },
        scheduling: { tolerations: [{ key: 'heavy', operator: 'Exists' }] },
      });
      const limits = { cpu: '100m', memory: '32Mi' };
      await pods.create(podOf('classy', sh(STAY, { resources: { limits } }), { runtimeClassName: 'heavy' }));
      const pod = await pods.ready('classy');
      expect(pod.spec).toMatchObject({ overhead: { cpu: '250m', memory: '32Mi' } });
      expect(pod.spec.tolerations).toContainEqual({ key: 'heavy', operator: 'Exists' });
      const [sandbox = ''] = await pods.sandboxIds(pod);
      const cri = new RealCri({ endpoint: node.containerd.endpoint });
      try {
        const sandboxes = await cri.listPodSandbox({ id: sandbox });
        expect(sandboxes.map(({ runtimeHandler }) => runtimeHandler)).toEqual(['test-handler']);
      } finally {
        cri.close();
      }
      const memory = pods.podCgroup(pod, 'memory.limit_in_bytes') ?? pods.podCgroup(pod, 'memory.max');
      expect(memory).toBe(String(64 * 2 ** 20));
    });

    it.concurrent('that does not exist is refused by the API; one that is deleted keeps the pod waiting', async () => {
      const answer = await refusal(pods.create(podOf('none', sh(STAY), { runtimeClassName: 'none' })));
      expect(answer.message).toContain('pod rejected: RuntimeClass "none" not found');
      await makeClass('brief', 'no-such-handler');
      await pods.create(podOf('brief', sh(STAY), { runtimeClassName: 'brief' }));
      const first = await pods.untilEvent('brief', 'FailedCreatePodSandBox');
      expect(first.message).toMatch(/^Failed to create pod sandbox: .*no-such-handler/);
      await node.deckhand.api.delete(resources.runtimeclasses, undefined, 'brief');
      const gone = 'Failed to create pod sandbox: runtimeclass.node.k8s.io "brief" not found';
      const told = async () => (await pods.events('brief')).some(({ message }) => message === gone);
      await waitFor('the event that the class is gone', told);
      await makeClass('brief', 'test-handler');
      await pods.ready('brief');
    });
  });

  it('records survive a restart of the agent, and nothing is pulled anew', async () => {
    const { name } = await publish('basic/kept');
    const own = { imagePullSecrets: [{ name: 'ann' }] };
    await run('kept-1', name, own);
    await pods.ready('kept-1');
    const asked = manifestsAsked('basic/kept').length;
    await node.deckhand.restart();
    await run('kept-2', name, own);
    await pods.ready('kept-2');
    expect(manifestsAsked('basic/kept').length).toBe(asked);
    expect(existsSync(`${node.run.paths.libDir}/kubelet/image_manager/pulling`)).toBe(true);
    expect(readdirSync(`${node.run.paths.libDir}/kubelet/image_manager/pulling`)).toEqual([]);
  });
});
