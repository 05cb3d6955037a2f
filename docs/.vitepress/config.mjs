/**
 * The documentation as a site: `npm run docs` builds it into build/docs. Pages lie where people and tests of the repository
 * find them; only the navigation (navigation.mjs) gathers them.
 */
import { defineConfig } from 'vitepress';
import { sidebar } from './navigation.mjs';

export default defineConfig({
  title: 'Loam',
  description: 'A sidecarless service mesh: what it does, how it is used, what can go wrong.',
  lang: 'en',
  outDir: '../build/docs',
  cacheDir: '../build/docs-cache',
  // Where a page was changed last is what git tells; a build asks nothing outside of the folder.
  lastUpdated: false,
  vite: { esbuild: { tsconfigRaw: '{}' } },
  // Pages are text: what looks like a tag is shown as it stands (`NAMESPACE/<name>`).
  markdown: { html: false },
  themeConfig: {
    nav: [
      { text: 'Start', link: '/start' },
      { text: 'Tasks', link: '/tasks/canary' },
      { text: 'When something is wrong', link: '/troubleshooting' },
      { text: 'Reference', link: '/reference/cli' },
    ],
    sidebar,
    search: { provider: 'local' },
    outline: [2, 3],
  },
});
