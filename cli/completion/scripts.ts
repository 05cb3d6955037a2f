import type { CompletionNode, CompletionOption } from './tree.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** The script that a shell reads. It asks nothing when it completes: all words stand in it. */
export function completionScript(shell: Shell, nodes: readonly CompletionNode[]): string {
  switch (shell) {
    case 'bash':
      return bashScript(nodes);
    case 'zsh':
      return zshScript(nodes);
    case 'fish':
      return fishScript(nodes);
  }
}

function wordsAfter({ commands, options, words }: CompletionNode): string[] {
  return [
    ...commands.map(({ word }) => word),
    ...words,
    ...options.flatMap(({ word, short }) => (short === undefined ? [word] : [word, short])),
  ];
}

function namesOf({ word, short }: CompletionOption): string[] {
  return short === undefined ? [word] : [word, short];
}

/** Inside single quotes. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function bashScript(nodes: readonly CompletionNode[]): string {
  const paths = nodes.map(({ path }) => `    ${quoted(path)}) ;;`).join('\n');
  const values = nodes.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .flatMap((option) =>
        namesOf(option).map(
          (name) =>
            `    ${quoted(`${path} ${name}`)}) ${
              option.values.length > 0
                ? `COMPREPLY=($(compgen -W ${quoted(option.values.join(' '))} -- "$current"))`
                : 'compopt -o default; COMPREPLY=()'
            }; return ;;`,
        ),
      ),
  );
  const words = nodes.map(
    (node) => `    ${quoted(node.path)}) words=${quoted(wordsAfter(node).join(' '))} ;;`,
  );
  return `# bash completion of loam: source <(loam completion bash)
_loam_is_command() {
  case "$1" in
${paths}
    *) return 1 ;;
  esac
}
_loam() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" path='' next words='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="\${path:+$path }\${COMP_WORDS[i]}"
    _loam_is_command "$next" && path="$next"
  done
  case "$path $before" in
${values.join('\n')}
  esac
  case "$path" in
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ \${#COMPREPLY[@]} -eq 0 ] && compopt -o default
}
complete -F _loam loam ./loam
`;
}

function zshScript(nodes: readonly CompletionNode[]): string {
  const described = (word: string, what: string): string =>
    quoted(`${word.replaceAll(':', '\\:')}:${what.replaceAll(':', '\\:')}`);
  const paths = nodes.map(({ path }) => quoted(path)).join('|');
  const values = nodes.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .map(
        (option) =>
          `    ${namesOf(option)
            .map((name) => quoted(`${path} ${name}`))
            .join(
              '|',
            )}) ${option.values.length > 0 ? `compadd -- ${option.values.map(quoted).join(' ')}` : '_files'}; return ;;`,
      ),
  );
  const words = nodes.map(
    ({ path, commands, options, words: plain }) =>
      `    ${quoted(path)}) list=(${[
        ...commands.map(({ word, what }) => described(word, what)),
        ...plain.map((word) => quoted(word)),
        ...options.map(({ word, what }) => described(word, what)),
      ].join(' ')}) ;;`,
  );
  return `#compdef loam
# zsh completion of loam: source <(loam completion zsh), after compinit
_loam() {
  local at='' next i
  local -a list
  for ((i = 2; i < CURRENT; i++)); do
    next="\${at:+$at }\${words[i]}"
    case "$next" in ${paths}) at="$next" ;; esac
  done
  case "$at \${words[CURRENT-1]}" in
${values.join('\n')}
  esac
  case "$at" in
${words.join('\n')}
  esac
  _describe 'loam' list || _files
}
compdef _loam loam
`;
}

function fishScript(nodes: readonly CompletionNode[]): string {
  const paths = nodes.map(({ path }) => quoted(path)).join(' ');
  const lines = nodes.flatMap(({ path, commands, options, words }) => {
    const at = `-n ${quoted(`__loam_at ${JSON.stringify(path)}`)}`;
    return [
      ...commands.map(({ word, what }) => `complete -c loam -f ${at} -a ${quoted(word)} -d ${quoted(what)}`),
      ...words.map((word) => `complete -c loam -f ${at} -a ${quoted(word)}`),
      ...options.map(
        ({ word, short, what, takesValue, values }) =>
          `complete -c loam ${at} -l ${word.replace(/^--/, '')}${short === undefined ? '' : ` -s ${short.slice(1)}`}${
            takesValue ? (values.length > 0 ? ` -x -a ${quoted(values.join(' '))}` : ' -r') : ''
          } -d ${quoted(what)}`,
      ),
    ];
  });
  return `# fish completion of loam: loam completion fish | source
function __loam_at
    set -l at ''
    for word in (commandline -opc)[2..-1]
        set -l next (string trim "$at $word")
        contains -- "$next" ${paths}; and set at $next
    end
    test "$at" = "$argv[1]"
end
${lines.join('\n')}
`;
}
