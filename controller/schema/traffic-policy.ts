import { metadata, topLevel } from './core.ts';
import { OPAQUE, type Schema } from './dsl.ts';

/** loam.dev/v1 TrafficPolicy. Until its fields are read, ../sources/check-traffic-policy.ts refuses every object. */
export const TRAFFIC_POLICY: Schema = topLevel(metadata('subdomain', true), { spec: OPAQUE, status: OPAQUE });
