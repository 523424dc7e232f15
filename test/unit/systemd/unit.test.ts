import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { projectRoot } from '../../harness/project-root.ts';
import { runCommand, tryCommand } from '../../harness/run-command.ts';

const unit = join(projectRoot(), 'systemd/deckhand.service');
const lines = readFileSync(unit, 'utf8').split('\n');
const docs = readFileSync(join(projectRoot(), 'docs/hardening.md'), 'utf8');

describe('the unit', () => {
  it('asks for nothing that would give it a mount namespace', () => {
    const names = lines.map((line) => line.split('=')[0] ?? '');
    // systemd.exec(5): each of them, or what it implies, needs one.
    for (const name of names) {
      expect(name).not.toMatch(
        /^(Protect|Private|ReadOnly|ReadWrite|Inaccessible|Exec|NoExec|Bind|BindReadOnly|Temporary|Mount|Root|Dynamic).*(Paths|FileSystem|Tmp|Devices|Users|Mounts|IPC|System|Home|Proc|KernelTunables|KernelModules|KernelLogs|ControlGroups|APIVFS|Directory|Image|User|Flags)$/,
      );
      expect(name).not.toMatch(/^(ProcSubset|ExtensionImages|ExtensionDirectories|LogNamespace)$/);
    }
  });

  it('leaves nothing open that docs/hardening.md does not explain, as systemd-analyze sees it', async ({ skip }) => {
    if ((await tryCommand(['sh', '-c', 'command -v systemd-analyze'])).code !== 0) skip('no systemd-analyze here');
    const { stdout, code } = await tryCommand(['systemd-analyze', 'security', '--offline=true', '--no-pager', unit]);
    // Older ones know no --offline; the code is that of the threshold otherwise.
    if (!stdout.includes('Overall exposure level')) skip(`systemd-analyze ended with ${code} and no verdict`);
    const open = [...stdout.matchAll(/^✗ (\S+)/gm)].map(([, name = '']) => name);
    expect(open.length).toBeGreaterThan(20);
    const explained = docs.replaceAll('\\|', '|');
    expect(open.filter((name) => !explained.includes(name))).toEqual([]);
    const score = /Overall exposure level for deckhand.service: ([\d.]+)/.exec(stdout)?.[1];
    expect(Number(score)).toBeLessThanOrEqual(6.1);
  });

  it('is well formed', async ({ skip }) => {
    if ((await tryCommand(['sh', '-c', 'command -v systemd-analyze'])).code !== 0) skip('no systemd-analyze here');
    // What is not installed here (the program, the man page) is not the unit's mistake.
    const { stderr } = await tryCommand(['systemd-analyze', 'verify', '--man=no', unit]);
    const own = stderr.split('\n').filter((line) => line.includes('deckhand.service'));
    expect(own.filter((line) => !/is not executable|No such file|not found/.test(line))).toEqual([]);
    expect(await runCommand(['sh', '-c', `grep -c '^ExecStart=' ${unit}`])).toBe('1\n');
  });
});
