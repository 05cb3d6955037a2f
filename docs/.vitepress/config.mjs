/**
 * The documentation as a site: `npm run docs` builds it into build/docs. Pages lie where people and tests of the repository
 * find them; only the navigation (navigation.mjs) gathers them.
 */
import { defineConfig } from 'vitepress';
import { sidebar } from './navigation.mjs';

/** A sprout, in the page itself: a browser that is told of no icon asks for one that is not there. */
const ICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect y="20" width="32" height="12" rx="3" fill="#6b4a2f"/><path d="M16 22V10M16 13C16 7 20 4 26 4c0 6-4 9-10 9zM16 17c0-5-4-7-9-7 0 5 4 7 9 7z" fill="#2f9e6a" stroke="#2f9e6a" stroke-width="2"/></svg>',
)}`;

/** Names without a blank, as of metrics and fields, may be broken after their parts, or a table is as wide as its longest one. */
function breakNames(md) {
  const render = md.renderer.rules.code_inline;
  md.renderer.rules.code_inline = (...args) =>
    render(...args).replace(/(?<=>)[^<]+(?=<)/, (text) =>
      text.replace(/([._/]|\[\]|\{\})(?=\w)/g, '$1<wbr>'),
    );
}

export default defineConfig({
  title: 'Loam',
  description: 'A sidecarless service mesh: what it does, how it is used, what can go wrong.',
  lang: 'en',
  outDir: '../build/docs',
  cacheDir: '../build/docs-cache',
  head: [['link', { rel: 'icon', href: ICON }]],
  // Where a page was changed last is what git tells; a build asks nothing outside of the folder.
  lastUpdated: false,
  vite: { esbuild: { tsconfigRaw: '{}' } },
  // Pages are text: what looks like a tag is shown as it stands (`NAMESPACE/<name>`).
  markdown: { html: false, config: breakNames },
  themeConfig: {
    nav: [
      { text: 'Start', link: '/start' },
      { text: 'Concepts', link: '/concepts/' },
      { text: 'Tasks', link: '/tasks/canary' },
      { text: 'When something is wrong', link: '/troubleshooting' },
      { text: 'Reference', link: '/reference/cli' },
    ],
    sidebar,
    search: { provider: 'local' },
    outline: [2, 3],
  },
});
