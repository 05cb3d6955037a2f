import { Argument, Command } from 'commander';
import { completionScript, SHELLS, type Shell } from '../completion/scripts.ts';
import { completionTree } from '../completion/tree.ts';
import { write } from '../output/print.ts';
import { helpText } from './mesh-options.ts';

/** `loam completion`: a script for the shell. @param program the whole command line, once it is defined */
export function completionCommand(program: () => Command): Command {
  return new Command('completion')
    .description('a script that completes commands and options in a shell')
    .addArgument(new Argument('<shell>', 'which').choices(SHELLS))
    .addHelpText(
      'after',
      helpText(
        [
          ['source <(loam completion bash)', 'in ~/.bashrc'],
          ['source <(loam completion zsh)', 'in ~/.zshrc, after compinit'],
          ['loam completion fish | source', 'in ~/.config/fish/config.fish'],
        ],
        '0 done, 2 no such shell',
      ),
    )
    .action((shell: Shell) => write(completionScript(shell, completionTree(program()))));
}
