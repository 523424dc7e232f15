import { CodedError } from '../../kit/errors.ts';
import { codeName } from '../../kit/grpc-codes.ts';
import type { Metrics } from '../../kit/metrics.ts';

/** Seconds (volume/util metrics.go). */
const BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600];

/** csi_operations_seconds: the calls of drivers, how long they took and how they ended. */
export class CsiMetrics {
  private readonly duration;

  constructor(metrics: Metrics) {
    this.duration = metrics.histogram(
      'csi_operations_seconds',
      'Container Storage Interface operation duration with gRPC error code status total',
      BUCKETS,
      ['driver_name', 'method_name', 'grpc_status_code', 'migrated'],
    );
  }

  /** `method` as on the wire, such as /csi.v1.Node/NodeStageVolume; `error` undefined: it went well. */
  record(driver: string, method: string, seconds: number, error: unknown): void {
    const labels = { driver_name: driver, method_name: method, grpc_status_code: statusOf(error), migrated: 'false' };
    this.duration.observe(labels, seconds);
  }
}

function statusOf(error: unknown): string {
  if (error === undefined) return codeName(0);
  if (!(error instanceof CodedError)) return 'unknown-non-grpc';
  if (error.code === 'Aborted' && error.metadata['grpcCode'] === undefined) return codeName(1);
  const { grpcCode } = error.metadata;
  return typeof grpcCode === 'number' ? codeName(grpcCode) : 'unknown-non-grpc';
}
