import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanup, destroyRun } from '../harness/cleanup.ts';
import { Containerd } from '../harness/containerd.ts';
import { HarnessRun } from '../harness/harness-run.ts';
import { BUSYBOX_IMAGE, PAUSE_IMAGE, WEB_IMAGE } from '../harness/images.ts';
import { leaksOf } from '../harness/leak-check.ts';
import { createNetns, inNetns } from '../harness/netns.ts';
import { NetnsDialer } from '../harness/netns-dialer.ts';
import { identify, isAlive, signal } from '../harness/process-identity.ts';
import { runCommand, tryCommand } from '../harness/run-command.ts';
import { writeRecord } from '../harness/run-record.ts';
import { waitFor } from '../harness/wait-for.ts';

const NAME = 'deckhand-test-harness';

describe('the test harness on real containerd', () => {
  let run: HarnessRun;
  let containerd: Containerd;
  let dialer: NetnsDialer;

  beforeAll(async () => {
    run = await HarnessRun.open(NAME);
    const netns = await run.netns();
    [containerd, dialer] = await Promise.all([Containerd.start(run, netns), NetnsDialer.start(run, netns)]);
  });

  afterAll(async () => {
    await run?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('imports the three images', async () => {
    const names = (await containerd.ctr('images', 'list', '--quiet')).split('\n');
    expect(names).toEqual(expect.arrayContaining([PAUSE_IMAGE, BUSYBOX_IMAGE, WEB_IMAGE]));
  });

  it('has a namespace with loopback and no way out', async () => {
    const links = await runCommand(inNetns(NAME, ['ip', '-br', 'link']));
    expect(links).toMatch(/^lo +UNKNOWN/m);
    expect((await tryCommand(inNetns(NAME, ['ip', 'route', 'get', '192.0.2.1']))).code).not.toBe(0);
  });

  it('dials in the namespace: the web image answers, fails its readiness and exits on request', async () => {
    // The host's network of a container run so is the network of containerd: the node's namespace.
    await containerd.runContainer('web', WEB_IMAGE, ['--net-host', '--env', 'POD_NAME=web-1']);
    const get = (path: string) => dialer.request(`http://127.0.0.1:8080${path}`);
    await waitFor('the web server', async () => (await get('/')).status === 200);

    expect((await get('/')).body).toBe('web-1\n');
    expect((await get('/readyz')).status).toBe(200);
    expect((await get('/cgi-bin/fail')).body).toContain('404');
    expect((await get('/readyz')).status).toBe(404);
    expect((await get('/healthz')).status).toBe(200);
    await get('/cgi-bin/recover');
    expect((await get('/readyz')).status).toBe(200);
    expect((await get('/cgi-bin/eat?8')).body).toContain('dd ended with 0');
    expect((await get('/cgi-bin/client')).body.trim()).toContain('127.0.0.1');
    await get('/cgi-bin/exit?3');
    await waitFor('the container to end', async () => (await containerd.ctr('tasks', 'list')).includes('STOPPED'));
    await expect(dialer.connect('127.0.0.1', 8080)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await containerd.ctr('tasks', 'delete', 'web').catch(() => {});
    await containerd.ctr('containers', 'delete', 'web');
  });

  it('restarts containerd under a running container', async () => {
    await containerd.runContainer('sleeper', BUSYBOX_IMAGE, [], ['sleep', '1000']);
    const before = containerd.pid;
    await containerd.kill();
    expect(identify(before)).toBeUndefined();
    await containerd.restart();
    expect(await containerd.ctr('tasks', 'list')).toMatch(/sleeper +\d+ +RUNNING/);
  });

  it('leaves a run alone that another living process works with', async () => {
    const name = `${NAME}-other`;
    const other = run.spawn('other-owner', ['sleep', '1000']);
    writeRecord({ name, owner: other, kept: false, processes: [], netns: [] });
    await expect(HarnessRun.open(name)).rejects.toThrow(`in use by process ${other.pid}`);
    expect(await cleanup(name)).toEqual([]);
    expect(await leaksOf(name)).not.toEqual([]);
    await run.stop(other, 0);
    expect(await cleanup(name)).toEqual([name]);
    expect(await leaksOf(name)).toEqual([]);
  });

  it('never signals a later process that has the number of an earlier one', () => {
    const self = identify(process.pid);
    if (self === undefined) throw new Error('no /proc');
    signal({ pid: self.pid, startTime: '1' }, 'SIGKILL');
    expect(isAlive(self)).toBe(true);
    expect(isAlive({ pid: self.pid, startTime: '1' })).toBe(false);
  });

  it('sees what is left, and undoes it although nobody kept a record', async () => {
    const crashed = `${NAME}-crashed`;
    await createNetns(crashed);
    await runCommand(['mkdir', '-p', `/run/${crashed}/a/b`, `/var/lib/${crashed}`]);
    await runCommand(['mount', '-t', 'tmpfs', 'none', `/run/${crashed}/a/b`]);
    const orphan = run.spawn('orphan', ['sleep', '1000'], { netns: crashed });
    // nsenter has replaced itself with sleep once the namespace is the new one.
    await waitFor('the orphan in its namespace', async () =>
      (await leaksOf(crashed)).some((leak) => leak.kind === 'process'),
    );
    const kinds = new Set((await leaksOf(crashed)).map((leak) => leak.kind));
    expect([...kinds].sort()).toEqual(['directory', 'mount', 'netns', 'process']);

    await destroyRun(crashed);
    expect(await leaksOf(crashed)).toEqual([]);
    expect(identify(orphan.pid)).toBeUndefined();
  });
});
