import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** The programs: processes that meet only through proto/ and lib/ (ARCHITECTURE.md). */
const PROGRAMS = ['agent', 'ztunnel', 'controller', 'waypoint', 'cli', 'dashboard'];

/** Forbids importing from the given top-level folders, at any depth of `../`. */
function forbid(folders, why) {
  return folders.map((folder) => ({ regex: `^(\\.{1,2}/)+${folder}/`, message: why }));
}

const FFI = {
  regex: '^koffi$',
  message: 'lib/linux is the only place that touches the FFI',
};

const arrows = PROGRAMS.map((program) => ({
  files: [`${program}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          FFI,
          ...forbid(
            [...PROGRAMS.filter((other) => other !== program), 'test', 'bench'],
            'programs meet only through proto/ and lib/, they never import each other',
          ),
        ],
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['build/**', 'dist/**', 'node_modules/**', 'proto/gen/**'] },
  js.configs.recommended,
  ...tseslint.configs.recommendedTypeChecked.map((c) => ({ ...c, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
    },
  },
  // Environment and flags are read in one place per program.
  {
    files: [...PROGRAMS.map((p) => `${p}/**/*.ts`), 'lib/**/*.ts'],
    ignores: ['**/config.ts', 'cli/**'],
    rules: {
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'env',
          message: 'config.ts is the one place that reads the environment',
        },
      ],
    },
  },
  // What commands tell may have in it what a manifest or a peer wrote.
  {
    files: ['cli/commands/**/*.ts', 'cli/policy/**/*.ts'],
    rules: { 'no-console': 'error' },
  },
  ...arrows,
  {
    files: ['lib/**/*.ts'],
    ignores: ['lib/linux/**', 'lib/mesh/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [FFI, ...forbid([...PROGRAMS, 'proto', 'test', 'bench'], 'lib imports nothing of ours')],
        },
      ],
    },
  },
  // What programs of the mesh have in common is written in terms of the wire.
  {
    files: ['lib/mesh/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [FFI, ...forbid([...PROGRAMS, 'test', 'bench'], 'lib imports no program')] },
      ],
    },
  },
  {
    files: ['lib/linux/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: forbid([...PROGRAMS, 'proto', 'test', 'bench'], 'lib imports nothing of ours') },
      ],
    },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [FFI] }],
      '@typescript-eslint/no-unused-expressions': 'off',
    },
  },
);
