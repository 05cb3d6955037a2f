/** What the server answers; the types are those of lib/flow, and of the catalog that cli/observe makes. */
export type {
  DashboardState,
  Graph,
  GraphEdge,
  GraphNode,
  Point,
  SplitView,
  Traffic,
} from '../../lib/flow/view.ts';
export type { FlowEvent, Party } from '../../lib/flow/event.ts';
export type {
  Catalog,
  CatalogPod,
  CatalogPolicy,
  CatalogRoute,
  CatalogService,
} from '../../lib/flow/catalog.ts';
