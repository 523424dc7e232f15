import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Service } from '../../../src/model/service.ts';
import { isReady } from '../../harness/pod-summary.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { drained, healthyJournal, tasks, treatedJournal } from './end-checks.ts';
import { api, cgroupFile, fingerprint, get, Load, must, pod, pods, run, SLOWLY, unitProperty } from './machine.ts';

/** One thing that is seen to hold in the machine; returns a sentence with its figures. */
export interface Check {
  readonly title: string;
  /** Milliseconds until it is taken for hung; some minutes unless given. */
  readonly limitMs?: number;
  /** Also when others were asked for by their titles: they need it. */
  readonly always?: boolean;
  readonly run: () => Promise<string>;
}

/** A fifth of an emulated processor answers no probe within a second. */
function unhurried(manifest: string): string {
  return manifest
    .replaceAll('cpu: 200m', 'cpu: "2"')
    .replaceAll(/^( *)periodSeconds: \d+$/gm, '$1periodSeconds: 10\n$1timeoutSeconds: 60');
}

const REPLICAS = ['web-1', 'web-2', 'web-3'];
/** All of the examples that go on running: one that is still about to start would look like a change. */
const RUNNING = [...REPLICAS, 'prepared'];

async function allReady(): Promise<void> {
  await waitFor(
    'the examples to be Ready',
    async () => {
      const found = (await pods()).filter(({ metadata }) => RUNNING.includes(metadata.name ?? ''));
      return found.length === RUNNING.length && found.every(isReady);
    },
    SLOWLY,
  );
}

const mainPid = async (): Promise<number> => Number(await unitProperty('deckhand', 'MainPID'));

async function serviceUrl(): Promise<string> {
  return `http://${(await api.read<Service>('/api/v1/namespaces/default/services/web')).spec?.clusterIP}/`;
}

/** Lets something happen to the daemon under load and holds that neither pods nor requests notice. */
async function undisturbed(happens: () => Promise<void>): Promise<string> {
  const before = await fingerprint();
  const load = new Load(await serviceUrl());
  const began = performance.now();
  await happens();
  const tookMs = performance.now() - began;
  await waitFor('the API', () => api.text('/api/v1/nodes'), SLOWLY);
  await pause(3000);
  await load.stop();
  const after = await fingerprint();
  must(
    JSON.stringify(after) === JSON.stringify(before),
    `containers differ: ${before.join('; ')} → ${after.join('; ')}`,
  );
  must(load.failures.length === 0, `${load.failures.length} of ${load.count} requests failed: ${load.failures[0]}`);
  return `${(tookMs / 1000).toFixed(1)} s; ${load.count} requests, none failed; ${after.length} containers are the same`;
}

async function started(before: number): Promise<void> {
  await waitFor(
    'systemd to have started it anew',
    async () => (await unitProperty('deckhand', 'ActiveState')) === 'active' && (await mainPid()) !== before,
    SLOWLY,
  );
}

export const firstBoot: readonly Check[] = [
  {
    title: 'the unit starts, and counts as started once the daemon says so',
    always: true,
    run: async () => {
      const began = performance.now();
      await run('systemctl', 'start', 'deckhand');
      const seconds = (performance.now() - began) / 1000;
      must((await unitProperty('deckhand', 'ActiveState')) === 'active', 'not active after systemctl start');
      const text = await unitProperty('deckhand', 'StatusText');
      must(text.startsWith('node '), `StatusText is ${JSON.stringify(text)}`);
      return `${seconds.toFixed(1)} s; ${text}`;
    },
  },
  {
    title: 'systemd-analyze says of the unit what docs/hardening.md says',
    run: async () => {
      const said = await run('systemd-analyze', 'security', '--no-pager', 'deckhand.service');
      const level =
        said
          .trim()
          .split('\n')
          .at(-1)
          ?.replace(/[^ -~]/g, '')
          .trim() ?? '';
      must(/: 6\.1 /.test(level), level);
      return level;
    },
  },
  {
    title: 'the examples run on cgroup v2',
    run: async () => {
      for (const name of readdirSync('/vmtest/examples')) {
        const text = readFileSync(`/vmtest/examples/${name}`, 'utf8');
        writeFileSync(`/etc/deckhand/manifests/${name}`, unhurried(text));
      }
      const began = performance.now();
      await allReady();
      const seconds = (performance.now() - began) / 1000;
      const answers = new Set<string>();
      const url = await serviceUrl();
      await waitFor('answers of all three', async () => answers.add((await get(url)).trim()).size === 3, SLOWLY);
      return `Ready after ${seconds.toFixed(0)} s; ${url} is answered by ${[...answers].sort().join(', ')}`;
    },
  },
  {
    title: 'limits stand in the cgroups of a burstable pod and of its class',
    run: async () => {
      const uid = (await pod('web-1')).metadata.uid ?? '';
      const path = `/kubepods/burstable/pod${uid}`;
      const read = (file: string): string => cgroupFile(path, file);
      // 50m are 51 shares, which are weight 1 + (51 - 2) × 9999 / 262142 = 2.
      const found = [read('cpu.weight'), read('cpu.max'), read('memory.max')].join(' | ');
      must(found === '2 | 200000 100000 | 67108864', `cpu.weight | cpu.max | memory.max are ${found}`);
      must(cgroupFile('/kubepods/besteffort', 'cpu.weight') === '1', 'besteffort has another weight than 1');
      const below = readdirSync(`/sys/fs/cgroup${path}`, { withFileTypes: true }).filter((entry) =>
        entry.isDirectory(),
      );
      must(below.length >= 2, `the pod's cgroup holds ${below.length} containers`);
      const group = below.map(({ name }) => cgroupFile(`${path}/${name}`, 'memory.oom.group'));
      must(group.includes('1'), `memory.oom.group of its containers: ${group.join(' ')}`);
      return `cpu.weight | cpu.max | memory.max: ${found}; memory.oom.group 1`;
    },
  },
  {
    title: 'a container over its memory limit is OOMKilled',
    run: async () => {
      const terminated = await waitFor(
        'memory-hog to end',
        async () => (await pod('memory-hog')).status?.containerStatuses?.[0]?.state?.terminated,
        SLOWLY,
      );
      must(terminated.reason === 'OOMKilled', `reason ${terminated.reason}, exit code ${terminated.exitCode}`);
      return `reason OOMKilled, exit code ${terminated.exitCode}`;
    },
  },
  healthyJournal,
  {
    title: 'kill -9: systemd starts it anew, nothing is lost',
    run: () =>
      undisturbed(async () => {
        const before = await mainPid();
        process.kill(before, 'SIGKILL');
        await started(before);
      }),
  },
  {
    title: 'a daemon that hangs is found by the watchdog and started anew, nothing is lost',
    run: () =>
      undisturbed(async () => {
        const before = await mainPid();
        process.kill(before, 'SIGSTOP');
        await started(before);
        must(
          (await run('journalctl', '-u', 'deckhand', '--no-pager')).includes('atchdog'),
          'the journal names no watchdog',
        );
      }),
  },
  {
    title: 'systemctl restart under load: nothing is lost',
    run: () => undisturbed(async () => void (await run('systemctl', 'restart', 'deckhand'))),
  },
  {
    title: 'mode ipvs and back: Services answer, and what the other mode had goes',
    run: async () => {
      const url = await serviceUrl();
      const defaults = readFileSync('/etc/default/deckhand', 'utf8');
      const restart = async (flags: string): Promise<void> => {
        writeFileSync('/etc/default/deckhand', defaults.replace('--node-ip', `${flags} --node-ip`));
        await run('systemctl', 'restart', 'deckhand');
        await waitFor('the API', () => api.text('/api/v1/nodes'), SLOWLY);
      };
      const isGone = (file: string, ...args: string[]): Promise<boolean> =>
        run(file, ...args).then(
          () => false,
          () => true,
        );
      const moved = await undisturbed(async () => {
        await restart('--proxy-mode ipvs --ipvs-tcp-timeout 16m --ipvs-tcpfin-timeout 2m1s --ipvs-udp-timeout 5m1s');
        const { hostname } = new URL(url);
        await waitFor(
          'the virtual server',
          async () => (await run('ipvsadm', '-S', '-n')).includes(`-A -t ${hostname}:80 -s rr`),
          SLOWLY,
        );
        await waitFor('nftables to go', () => isGone('nft', 'list', 'table', 'ip', 'deckhand'), SLOWLY);
      });
      const answers = new Set<string>();
      await waitFor('answers of all three', async () => answers.add((await get(url)).trim()).size === 3, SLOWLY);
      const timeouts = await run('ipvsadm', '-L', '--timeout');
      must(timeouts.includes('960 121 301'), `the time-outs are ${timeouts}`);
      const explained = await run('deckhand', 'explain', 'service', 'default/web');
      must(explained.includes('the kernel holds these rules'), `explain: ${explained}`);
      const back = await undisturbed(async () => {
        await restart('');
        await waitFor('kube-ipvs0 to go', () => isGone('ip', 'link', 'show', 'kube-ipvs0'), SLOWLY);
        await waitFor('the sets to go', async () => !(await run('ipset', 'save')).includes('KUBE-'), SLOWLY);
      });
      must((await run('ipvsadm', '-S', '-n')).trim() === '', 'virtual servers are left');
      // Those of kubelet stay.
      must(!/KUBE-(?!IPTABLES-HINT|KUBELET-CANARY|FIREWALL)/.test(await run('iptables-save')), 'chains are left');
      must((await get(url)).startsWith('web-'), 'the Service does not answer afterwards');
      return `to ipvs ${moved}; back ${back}`;
    },
  },
  {
    title: 'systemctl stop leaves pods and rules; a start finds them',
    run: () =>
      undisturbed(async () => {
        const url = await serviceUrl();
        const before = await tasks();
        await run('systemctl', 'stop', 'deckhand');
        must((await tasks()) === before, `containers differ: ${before} → ${await tasks()}`);
        must((await get(url)).startsWith('web-'), 'the Service does not answer while the daemon is down');
        await run('systemctl', 'start', 'deckhand');
      }),
  },
  {
    title: 'an upgrade of the package restarts the daemon, nothing is lost',
    run: () =>
      undisturbed(async () => {
        const before = await mainPid();
        await run('sh', '-c', 'dpkg --force-confold -i /vmtest/upgrade/*.deb');
        await started(before);
      }),
  },
  treatedJournal,
  {
    title: 'nft flush ruleset: the daemon hears of it and writes its rules again',
    run: async () => {
      const helper = (await run('pgrep', '-x', 'xtables-monitor')).trim();
      const url = await serviceUrl();
      // Until it has heard something it looks as well, and what it finds then has no name.
      for (const verb of ['add', 'delete']) await run('nft', verb, 'table', 'ip', 'stranger');
      await pause(3000);
      const began = performance.now();
      await run('nft', 'flush', 'ruleset');
      const table = (): Promise<string> => run('nft', 'list', 'table', 'ip', 'deckhand').catch(() => '');
      await waitFor('the Service in the rules', async () => (await table()).includes(new URL(url).hostname), {
        ...SLOWLY,
        intervalMs: 50,
      });
      const backMs = performance.now() - began;
      must((await get(url)).startsWith('web-'), 'the Service does not answer');
      const said = async (): Promise<string | undefined> => {
        const journal = await run('journalctl', '-u', 'deckhand', '--no-pager', '-n', '50', '-o', 'cat');
        return /.*somebody removed our Service rules.*/.exec(journal)?.[0];
      };
      const line = await waitFor('the log to say so', said, { ...SLOWLY, timeoutMs: 60_000 });
      must(/"by":\{"pid":\d+,"name":"nft"\}/.test(line), `the log does not say who it was: ${line}`);
      return `back after ${Math.round(backMs)} ms; by nft, heard by process ${helper}`;
    },
  },
  drained,
];

/** For every run. */
export const shortChecks: readonly Check[] = [
  {
    title: 'a pod runs, with its limits on cgroup v2, and its Service answers',
    run: async () => {
      const [web = ''] = unhurried(readFileSync('/vmtest/examples/20-web.yaml', 'utf8')).split('\n---\n');
      const others = ['10-config.yaml', '30-services.yaml'].map((name) =>
        readFileSync(`/vmtest/examples/${name}`, 'utf8'),
      );
      writeFileSync('/etc/deckhand/manifests/short.yaml', [...others, web].join('\n---\n'));
      const began = performance.now();
      const { uid } = await waitFor('the pod', async () => (await pods())[0]?.metadata, SLOWLY);
      const url = await waitFor('the Service', () => serviceUrl().catch(() => undefined), SLOWLY);
      await waitFor('its answer', async () => (await get(url).catch(() => '')).trim() === 'web-1', SLOWLY);
      const limit = cgroupFile(`/kubepods/burstable/pod${uid}`, 'memory.max');
      must(limit === '67108864', `memory.max is ${limit}`);
      return `${url} answers after ${((performance.now() - began) / 1000).toFixed(0)} s; memory.max ${limit}`;
    },
  },
  healthyJournal,
];

export const secondBoot: readonly Check[] = [
  {
    title: 'after a reboot the pods come back by themselves',
    run: async () => {
      const began = performance.now();
      await waitFor('the API', () => api.text('/api/v1/nodes'), SLOWLY);
      await allReady();
      const restarts = (await pods())
        .filter(({ metadata }) => REPLICAS.includes(metadata.name ?? ''))
        .map(({ status }) => status?.containerStatuses?.[0]?.restartCount);
      must((await get(await serviceUrl())).startsWith('web-'), 'the Service does not answer');
      return `Ready ${((performance.now() - began) / 1000).toFixed(0)} s after the check began; restarts ${restarts.join(' ')}`;
    },
  },
];
