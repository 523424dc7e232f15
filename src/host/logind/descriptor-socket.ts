import { Socket } from 'node:net';
import { CodedError } from '../../kit/errors.ts';

/** A file descriptor that came over a socket. */
export interface ReceivedDescriptor {
  close(): void;
}

/** A unix socket over which file descriptors can be received (unix(7), SCM_RIGHTS). */
export interface DescriptorSocket {
  readonly socket: Socket;
  /** The descriptor that came with the data that is being handed out right now; undefined when there was none. */
  take(): ReceivedDescriptor | undefined;
}

interface PipeHandle extends ReceivedDescriptor {
  /** Set before data that a descriptor came with is handed out (Node, stream_base and child_process). */
  pendingHandle?: ReceivedDescriptor | null;
  connect(request: { oncomplete?: (status: number) => void }, path: string): number;
}

interface PipeBinding {
  readonly Pipe: new (type: number) => PipeHandle;
  readonly PipeConnectWrap: new () => { oncomplete?: (status: number) => void };
  readonly constants: { readonly IPC: number };
}

/**
 * Connects. Node has no public way to receive descriptors but for its own child processes; what those use is a pipe in IPC
 * mode, which is a plain unix socket whose reads take ancillary data along. Throws Unimplemented where a later Node has
 * taken that away, Unavailable when nobody listens.
 */
export async function connectDescriptorSocket(path: string): Promise<DescriptorSocket> {
  const { Pipe, PipeConnectWrap, constants } = pipeBinding();
  const handle = new Pipe(constants.IPC);
  await new Promise<void>((resolve, reject) => {
    const request = new PipeConnectWrap();
    const failed = (status: number): void => {
      handle.close();
      reject(new CodedError('Unavailable', `connect to ${path}: error ${status}`, { path }));
    };
    request.oncomplete = (status) => (status === 0 ? resolve() : failed(status));
    const status = handle.connect(request, path);
    if (status !== 0) failed(status);
  });
  const socket = new Socket({ handle } as ConstructorParameters<typeof Socket>[0]);
  return {
    socket,
    take: () => {
      const received = handle.pendingHandle ?? undefined;
      handle.pendingHandle = null;
      return received;
    },
  };
}

function pipeBinding(): PipeBinding {
  const { binding } = process as { binding?: (name: string) => unknown };
  const pipe = binding?.call(process, 'pipe_wrap') as Partial<PipeBinding> | undefined;
  const { Pipe, PipeConnectWrap, constants } = pipe ?? {};
  if (Pipe === undefined || PipeConnectWrap === undefined || constants === undefined) {
    const message = `Node ${process.version} offers no way to receive file descriptors; shutdowns cannot be held up`;
    throw new CodedError('Unimplemented', message);
  }
  return { Pipe, PipeConnectWrap, constants };
}
