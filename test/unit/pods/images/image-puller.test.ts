import { beforeEach, describe, expect, it } from 'vitest';
import { FakeCri } from '../../../../src/host/cri/fake.ts';
import type { AuthConfig, PodSandboxConfig } from '../../../../src/host/cri/port.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { KubeObject } from '../../../../src/model/meta.ts';
import type { Secret } from '../../../../src/model/objects.ts';
import type { PodSpec } from '../../../../src/model/pod.ts';
import type { ResourceType } from '../../../../src/model/resource.ts';
import { ImageAccess } from '../../../../src/pods/images/image-access.ts';
import { ImageMetrics } from '../../../../src/pods/images/image-metrics.ts';
import { ImagePuller } from '../../../../src/pods/images/image-puller.ts';
import { NodeDockerConfig } from '../../../../src/pods/images/node-docker-config.ts';
import { ImageCredentials } from '../../../../src/pods/images/pull-credentials.ts';
import { PullRecords } from '../../../../src/pods/images/pull-records.ts';
import { type VerificationPolicyName, verificationPolicy } from '../../../../src/pods/images/verification-policy.ts';
import { container, pod } from '../builders.ts';

const IMAGE = 'r.example.com/team/app:1';
const ROOT = '/var/lib/kubelet';
const never = new AbortController().signal;

/** A node with a registry that knows one user, and pods that ask for its image. */
class World {
  readonly clock = new ManualClock();
  readonly cri = new FakeCri({}, { clock: this.clock });
  readonly files = new FakeFiles();
  readonly secrets = new Map<string, Secret>();
  readonly told: string[] = [];
  private policy: VerificationPolicyName = 'NeverVerifyPreloadedImages';
  access: ImageAccess;
  puller: ImagePuller;

  constructor() {
    const knows = (auth: AuthConfig | undefined): boolean => auth?.username === 'user' && auth.password === 'right';
    this.cri.publishImage(IMAGE, { allows: knows });
    this.access = this.open();
    this.puller = this.build();
  }

  /** A new process on the same node. */
  restart(policy: VerificationPolicyName = this.policy): void {
    this.policy = policy;
    this.access = this.open();
    this.puller = this.build();
  }

  secret(name: string, password: string, more: Partial<Secret> = {}): void {
    const auths = { 'r.example.com': { username: 'user', password } };
    this.secrets.set(name, {
      metadata: { name, namespace: 'ns', uid: `uid of ${name}` },
      type: 'kubernetes.io/dockerconfigjson',
      data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') },
      ...more,
    });
  }

  async ensure(spec: Partial<PodSpec> = {}, more: { image?: string; imagePullPolicy?: 'Always' | 'Never' } = {}) {
    const wanted = container('a', { image: IMAGE, ...more });
    const of = pod({ containers: [wanted], ...spec });
    this.told.length = 0;
    const config = { metadata: { name: 'p', namespace: 'ns', uid: 'u1', attempt: 0 } } as PodSandboxConfig;
    try {
      await this.puller.ensure(of, wanted, config, never);
      return undefined;
    } catch (error) {
      return error instanceof CodedError ? { reason: error.metadata['reason'], message: error.message } : error;
    }
  }

  get pulls(): (string | undefined)[] {
    return this.cri.registryAccesses.map(({ auth }) => auth?.password);
  }

  async record(): Promise<unknown> {
    const [name] = (await this.files.list(`${ROOT}/image_manager/pulled`)) ?? [];
    if (name === undefined) return undefined;
    return JSON.parse((await this.files.read(`${ROOT}/image_manager/pulled/${name}`)).toString());
  }

  private open(): ImageAccess {
    const { cri, clock, files } = this;
    return new ImageAccess({
      records: new PullRecords({ rootDirectory: ROOT }, { files }),
      policy: verificationPolicy(this.policy, ['r.example.com/team/*']),
      cri,
      metrics: new ImageMetrics(new Metrics()),
      clock,
      log: silent,
    });
  }

  private build(): ImagePuller {
    const { cri, clock, files } = this;
    const get = async <T extends KubeObject>(type: ResourceType, namespace: string, name: string): Promise<T> => {
      const found = type.kind === 'Secret' && namespace === 'ns' ? this.secrets.get(name) : undefined;
      if (found === undefined) throw new CodedError('NotFound', `secret "${name}" not found`);
      return found as KubeObject as T;
    };
    const say = (type: string, reason: string, message: string): void => {
      this.told.push(`${type} ${reason} ${message}`);
    };
    const places = [
      new NodeDockerConfig(
        { rootDirectory: ROOT, workingDirectory: '/work', homeDirectory: '/root' },
        { files, clock, log: silent },
      ),
    ];
    return new ImagePuller(
      { maxParallelPulls: 1, pullQPS: 0, pullBurst: 0 },
      {
        cri,
        credentials: new ImageCredentials({
          objects: { get },
          places,
          event: (_pod, type, reason, message) => say(type, reason, message),
          log: silent,
        }),
        guard: this.access,
        metrics: new ImageMetrics(new Metrics()),
        clock,
        event: (_pod, _container, type, reason, message) => say(type, reason, message),
      },
    );
  }
}

describe('pull credentials', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });

  it('without any, the pull is anonymous and fails in the runtime’s words', async () => {
    const failure = await world.ensure();
    expect(world.pulls).toEqual([undefined]);
    expect(failure).toMatchObject({ reason: 'ErrImagePull' });
    expect(world.told[1]).toMatch(
      /^Warning Failed Failed to pull image "r\.example\.com\/team\/app:1": .*pull access denied/,
    );
  });

  it('with the pod’s secret it works; wrong ones before it are tried, too', async () => {
    world.secret('wrong', 'wrong');
    world.secret('right', 'right');
    expect(await world.ensure({ imagePullSecrets: [{ name: 'wrong' }, { name: 'right' }] })).toBeUndefined();
    expect(world.pulls).toEqual(['wrong', 'right']);
    expect(world.told.at(-1)).toMatch(/^Normal Pulled Successfully pulled image /);
  });

  it('all that fail are told of, the same words once', async () => {
    world.secret('wrong', 'wrong');
    world.secret('worse', 'worse');
    const failure = await world.ensure({ imagePullSecrets: [{ name: 'wrong' }, { name: 'worse' }] });
    expect(world.pulls).toEqual(['wrong', 'worse']);
    expect(failure).toMatchObject({ reason: 'ErrImagePull', message: expect.not.stringContaining('wrong') });
  });

  it('a secret that is missing is told of, and the pull goes on', async () => {
    world.secret('right', 'right');
    const spec = { imagePullSecrets: [{ name: 'gone' }, { name: '' }, { name: 'right' }, { name: 'lost' }] };
    expect(await world.ensure(spec)).toBeUndefined();
    expect(world.told[0]).toBe(
      'Warning FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (gone, lost); attempting to pull the image may not succeed.',
    );
  });

  it('reads dockercfg, and passes over Secrets of other types', async () => {
    const dockercfg = Buffer.from(JSON.stringify({ 'r.example.com': { username: 'user', password: 'right' } }));
    world.secret('opaque', 'wrong', { type: 'Opaque' });
    world.secret('old', '', { type: 'kubernetes.io/dockercfg', data: { '.dockercfg': dockercfg.toString('base64') } });
    expect(await world.ensure({ imagePullSecrets: [{ name: 'opaque' }, { name: 'old' }] })).toBeUndefined();
    expect(world.pulls).toEqual(['right']);
  });

  it('the node’s docker config is tried after the pod’s own secrets, and read again after five minutes', async () => {
    const write = (path: string, password: string): Promise<void> =>
      world.files.write(path, JSON.stringify({ auths: { 'r.example.com': { username: 'user', password } } }), 0o600);
    world.secret('mine', 'mine');
    await world.files.makeDirectory('/root/.docker', 0o700);
    await write('/root/.docker/config.json', 'home');
    await world.ensure({ imagePullSecrets: [{ name: 'mine' }] });
    expect(world.pulls).toEqual(['mine', 'home']);
    await world.files.makeDirectory(ROOT, 0o750);
    await write(`${ROOT}/config.json`, 'right');
    await world.ensure();
    expect(world.pulls.slice(2)).toEqual(['home']);
    await world.clock.advance(5 * 60_000);
    expect(await world.ensure()).toBeUndefined();
    expect(world.pulls.slice(3)).toEqual(['right']);
  });
});

describe('images that are here already', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
    world.secret('right', 'right');
  });
  const mine = { imagePullSecrets: [{ name: 'right' }] };

  it('writes what it pulled in kubelet’s format', async () => {
    await world.ensure(mine);
    expect(await world.files.list(`${ROOT}/image_manager/pulling`)).toEqual([]);
    expect(await world.record()).toEqual({
      kind: 'ImagePulledRecord',
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      lastUpdatedTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      imageRef: (await world.cri.imageStatus(IMAGE))?.id,
      credentialMapping: {
        'r.example.com/team/app': {
          kubernetesSecrets: [
            {
              uid: 'uid of right',
              namespace: 'ns',
              name: 'right',
              credentialHash: expect.stringMatching(/^[0-9a-f]{64}$/),
            },
          ],
        },
      },
    });
  });

  it('are for pods with the same secret without a pull, also after a restart', async () => {
    await world.ensure(mine);
    world.restart();
    expect(await world.ensure(mine)).toBeUndefined();
    expect(world.pulls).toEqual(['right']);
    expect(world.told).toEqual([
      `Normal Pulled Container image "${IMAGE}" already present on machine and can be accessed by the pod`,
    ]);
  });

  it('a pod without credentials must pull, and is refused', async () => {
    await world.ensure(mine);
    expect(await world.ensure()).toMatchObject({ reason: 'ErrImagePull' });
    expect(world.pulls).toEqual(['right', undefined]);
  });

  it('with policy Never such a pod is told that there is no image', async () => {
    await world.ensure(mine);
    expect(await world.ensure({}, { imagePullPolicy: 'Never' })).toEqual({
      reason: 'ErrImageNeverPull',
      message: `Container image "${IMAGE}" is not present with pull policy of Never`,
    });
    expect(await world.ensure(mine, { imagePullPolicy: 'Never' })).toBeUndefined();
  });

  it('the same credentials in another Secret are as good, and remembered', async () => {
    await world.ensure(mine);
    world.secret('twin', 'right');
    expect(await world.ensure({ imagePullSecrets: [{ name: 'twin' }] })).toBeUndefined();
    expect(world.pulls).toEqual(['right']);
    expect(await world.record()).toMatchObject({
      credentialMapping: { 'r.example.com/team/app': { kubernetesSecrets: [{ name: 'right' }, { name: 'twin' }] } },
    });
  });

  it('a Secret with new contents is trusted as the old one', async () => {
    await world.ensure(mine);
    world.secret('right', 'rotated');
    expect(await world.ensure(mine)).toBeUndefined();
    expect(world.pulls).toEqual(['right']);
  });

  it('policy Always pulls whatever the records say', async () => {
    await world.ensure(mine);
    await world.ensure(mine, { imagePullPolicy: 'Always' });
    expect(world.pulls).toEqual(['right', 'right']);
  });

  it('preloaded images are for everybody, unless the policy says otherwise', async () => {
    world.cri.addImage(IMAGE);
    expect(await world.ensure()).toBeUndefined();
    world.restart('AlwaysVerify');
    expect(await world.ensure()).toMatchObject({ reason: 'ErrImagePull' });
    world.restart('NeverVerifyAllowlistedImages');
    expect(await world.ensure()).toBeUndefined();
    world.restart('NeverVerify');
    expect(await world.ensure()).toBeUndefined();
    expect(world.pulls).toEqual([undefined]);
  });

  it('an image that anybody may pull is recorded as open to the node', async () => {
    world.cri.publishImage('open.example.com/x:1');
    await world.ensure({}, { image: 'open.example.com/x:1' });
    expect(await world.record()).toMatchObject({
      credentialMapping: { 'open.example.com/x': { nodePodsAccessible: true } },
    });
    expect(await world.ensure({}, { image: 'open.example.com/x:1' })).toBeUndefined();
    expect(world.pulls).toEqual([undefined]);
  });

  it('a pull that a crash cut off makes the image one that must be proved', async () => {
    await world.access.pulling(IMAGE);
    world.cri.addImage(IMAGE);
    world.restart();
    const stop = new AbortController();
    const running = world.access.run(stop.signal).catch(() => {});
    await world.clock.advance(1);
    expect(await world.files.list(`${ROOT}/image_manager/pulling`)).toEqual([]);
    expect(await world.record()).toMatchObject({ credentialMapping: {} });
    expect(await world.ensure()).toMatchObject({ reason: 'ErrImagePull' });
    expect(await world.ensure(mine)).toBeUndefined();
    stop.abort();
    await running;
  });

  it('records of images that are gone are dropped in time', async () => {
    await world.ensure(mine);
    const stop = new AbortController();
    await world.clock.advance(2000);
    const running = world.access.run(stop.signal).catch(() => {});
    await world.clock.advance(1);
    expect(await world.record()).toBeDefined();
    await world.cri.removeImage((await world.cri.imageStatus(IMAGE))?.id ?? '');
    await world.clock.advance(5 * 60_000);
    expect(await world.record()).toBeUndefined();
    stop.abort();
    await running;
  });

  it('a record that makes no sense means pulling again', async () => {
    await world.ensure(mine);
    const [name] = (await world.files.list(`${ROOT}/image_manager/pulled`)) ?? [];
    await world.files.write(`${ROOT}/image_manager/pulled/${name}`, '{"kind":"Nonsense"}', 0o600);
    expect(await world.ensure(mine)).toBeUndefined();
    expect(world.pulls).toEqual(['right', 'right']);
    expect(await world.record()).toMatchObject({ kind: 'ImagePulledRecord' });
  });
});

describe('verificationPolicy', () => {
  it.each(['', ' a', '*', '/*', 'r.io/*/x', 'r.io/a:1', 'r.io/a*'])('refuses the pattern %j', (pattern) => {
    expect(() => verificationPolicy('NeverVerifyAllowlistedImages', [pattern])).toThrow(
      expect.objectContaining({ code: 'InvalidConfig' }),
    );
  });

  it('matches names without their tags, exactly or from the beginning', () => {
    const policy = verificationPolicy('NeverVerifyAllowlistedImages', ['r.io/a', 'r.io/team/*']);
    const must = ['r.io/a:1', 'r.io/ab', 'r.io/team/x@sha256:'.concat('0'.repeat(64)), 'r.io/teams/x'].map((image) =>
      policy(image, true),
    );
    expect(must).toEqual([false, true, false, true]);
  });
});
