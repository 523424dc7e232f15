const REMOTE = new Set(
  '9p afs autofs beegfs ceph cifs coda fuse fuseblk gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 smb2 smb3 smbfs'.split(
    ' ',
  ),
);
/** Whether a filesystem's answers depend on a server that may be gone. */
export function isRemoteType(type: string): boolean {
  return REMOTE.has(type) || type.startsWith('fuse.');
}
