import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAtOrBelow, type MountEntry, parseMountInfo } from '../../../src/host/mount/mount-info.ts';

const SAMPLE = `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
42 27 0:39 / /var/lib/kubelet/pods/a\\040b/x rw,relatime shared:7 master:2 - tmpfs tmpfs rw,size=1024k
43 27 0:40 /sub\\011dir /mnt/back\\134slash ro - fuse.sshfs host:/a\\040b rw,user_id=0
44 27 0:41 / /mnt/empty rw -  tmpfs  rw
odd line
45 27 0:42 / /mnt/h\\043sh rw - tmpfs  rw
`;

function escapeField(text: string): string {
  return text.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

function render(entry: MountEntry): string {
  const { id, parentId, device, root, mountPoint, options, propagation, type, source, superOptions } = entry;
  const fields = [id, parentId, device, escapeField(root), escapeField(mountPoint), options, ...propagation, '-'];
  return [...fields, type, escapeField(source), superOptions].join(' ');
}

const path = fc
  .array(
    fc.string({ minLength: 1, maxLength: 8 }).map((part) => part.replace(/[/\0]/g, '_')),
    { minLength: 1, maxLength: 4 },
  )
  .map((parts) => `/${parts.join('/')}`);
const arbitraryEntry: fc.Arbitrary<MountEntry> = fc.record({
  id: fc.nat(),
  parentId: fc.nat(),
  device: fc.constantFrom('0:1', '254:16'),
  root: path,
  mountPoint: path,
  options: fc.constantFrom('rw', 'ro,nosuid'),
  propagation: fc.subarray(['shared:1', 'master:2', 'propagate_from:3', 'unbindable']),
  type: fc.constantFrom('tmpfs', 'nfs4', 'fuse.x'),
  source: path,
  superOptions: fc.constantFrom('rw', 'rw,size=1k'),
});

describe('parseMountInfo', () => {
  it('reads fields, optional fields and escapes', () => {
    const entries = parseMountInfo(SAMPLE);
    expect(entries.map(({ mountPoint }) => mountPoint)).toEqual(
      ['/', '/var/lib/kubelet/pods/a b/x', '/mnt/back\\slash', '/mnt/h#sh'].toSpliced(3, 0, '/mnt/empty'),
    );
    expect(entries[1]).toEqual({
      id: 42,
      parentId: 27,
      device: '0:39',
      root: '/',
      mountPoint: '/var/lib/kubelet/pods/a b/x',
      options: 'rw,relatime',
      propagation: ['shared:7', 'master:2'],
      type: 'tmpfs',
      source: 'tmpfs',
      superOptions: 'rw,size=1024k',
    });
    expect(entries[2]?.root).toBe('/sub\tdir');
    expect(entries[2]?.source).toBe('host:/a b');
    expect(entries.at(-1)?.source).toBe('');
  });

  it('keeps only what is at or below a path, component by component', () => {
    expect(parseMountInfo(SAMPLE, '/var/lib/kubelet/pods/a b').map(({ id }) => id)).toEqual([42]);
    expect(parseMountInfo(SAMPLE, '/var/lib/kubelet/pods/a').map(({ id }) => id)).toEqual([]);
    expect(parseMountInfo(SAMPLE, '/mnt/h#sh').map(({ id }) => id)).toEqual([45]);
    expect(parseMountInfo(SAMPLE, '/')).toHaveLength(5);
  });

  it('gives back what the kernel would write of any mounts (property)', () => {
    fc.assert(
      fc.property(fc.array(arbitraryEntry, { maxLength: 12 }), path, (entries, below) => {
        const text = entries.map((entry) => `${render(entry)}\n`).join('');
        expect(parseMountInfo(text)).toEqual(entries);
        const chosen = entries.filter(({ mountPoint }) => isAtOrBelow(mountPoint, below));
        expect(parseMountInfo(text, below)).toEqual(chosen);
        for (const { mountPoint } of entries) {
          expect(parseMountInfo(text, mountPoint).length).toBeGreaterThanOrEqual(1);
        }
      }),
    );
  });

  it('survives any text (fuzz)', () => {
    const word = fc.constantFrom('1', '-', '/', ' ', '\n', '\\', '\\040', '\\777', 'a', '0:1', 'rw', '\0');
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word, { maxLength: 60 }).map((words) => words.join(' ')),
        ),
        (text) => {
          for (const entry of parseMountInfo(text)) expect(entry.mountPoint.startsWith('/')).toBe(true);
        },
      ),
    );
  });
});
