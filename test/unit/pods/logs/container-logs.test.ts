import { beforeEach, describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ContainerLogs } from '../../../../src/pods/logs/container-logs.ts';

const POD = { namespace: 'ns', name: 'web', uid: 'u1' };
const ID = 'a'.repeat(64);

describe('ContainerLogs', () => {
  let files: FakeFiles;
  let logs: ContainerLogs;

  beforeEach(async () => {
    files = new FakeFiles();
    logs = new ContainerLogs({ podLogsDir: '/pods', containerLogsDir: '/links' }, { files, log: silent });
    await files.makeDirectory('/links', 0o755);
    await files.makeDirectory('/pods/ns_web_u1/app', 0o755, 0o755);
    await files.write('/pods/ns_web_u1/app/0.log', '', 0o640);
  });

  const links = async (): Promise<string[]> => (await files.list('/links')) ?? [];

  it('links to a log as log shippers expect it', async () => {
    await logs.link(POD, 'app', 0, ID);
    await logs.link(POD, 'app', 0, ID);
    expect(await links()).toEqual([`web_ns_app-${ID}.log`]);
    expect(await files.readLink(`/links/web_ns_app-${ID}.log`)).toBe('/pods/ns_web_u1/app/0.log');
  });

  it('cuts a name that ext4 could not hold, and links to nothing that is not there', async () => {
    const long = { ...POD, name: 'n'.repeat(200) };
    await files.makeDirectory(`/pods/ns_${long.name}_u1/app`, 0o755, 0o755);
    await files.write(`/pods/ns_${long.name}_u1/app/0.log`, '', 0o640);
    await logs.link(long, 'app', 0, ID);
    await logs.link(POD, 'app', 7, ID);
    const [name = '', ...more] = await links();
    expect(more).toEqual([]);
    expect(name).toHaveLength(255);
    expect(name.endsWith('.log')).toBe(true);
  });

  it('removes with a container all that its log was rotated to, and its link', async () => {
    await logs.link(POD, 'app', 0, ID);
    for (const name of ['0.log.20260101-000000', '0.log.20260101-000000.gz', '0.log.x.tmp', '1.log', '10.log']) {
      await files.write(`/pods/ns_web_u1/app/${name}`, '', 0o640);
    }
    await logs.removeContainer(POD, 'app', 0, ID);
    await logs.removeContainer(POD, 'app', 0, ID);
    expect(await files.list('/pods/ns_web_u1/app')).toEqual(['1.log', '10.log']);
    expect(await links()).toEqual([]);
  });

  it('removes with a pod its directory and its links, not those of another pod of its name', async () => {
    const next = { ...POD, uid: 'u2' };
    await files.makeDirectory('/pods/ns_web_u2/app', 0o755, 0o755);
    await files.write('/pods/ns_web_u2/app/0.log', '', 0o640);
    await logs.link(POD, 'app', 0, ID);
    await logs.link(next, 'app', 0, 'b'.repeat(64));
    await logs.removePod(POD);
    expect(await links()).toEqual([`web_ns_app-${'b'.repeat(64)}.log`]);
    expect(await files.list('/pods')).toEqual(['ns_web_u2']);
  });

  it('removes links that lead nowhere, but not while the container lives', async () => {
    await files.symlink('/pods/gone/0.log', '/links/a_b_c-alive0000000.log');
    await files.symlink('/pods/gone/0.log', '/links/a_b_c-dead00000000.log');
    await files.symlink('/pods/gone/0.log', '/links/a_b_c-abc.log');
    await files.symlink('/pods/gone/0.log', '/links/not-a-log.txt');
    await files.write('/links/a-file000.log', '', 0o644);
    await logs.link(POD, 'app', 0, ID);
    await logs.removeDanglingLinks((id) => id === 'alive0000000');
    expect((await links()).sort()).toEqual(
      ['a-file000.log', 'a_b_c-alive0000000.log', 'not-a-log.txt', `web_ns_app-${ID}.log`].sort(),
    );
  });
});
