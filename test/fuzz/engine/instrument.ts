import ts from 'typescript';

/** A module with a counter in each branch. */
export interface Instrumented {
  readonly code: string;
  /** How many counters it uses, from the first on. */
  readonly counters: number;
  /** Its text literals: what a parser compares with is what inputs should hold. */
  readonly literals: readonly string[];
}

/** Global name of the counters that instrumented modules count in. */
export const COUNTERS = '__loamFuzzCounters';
const MAX_LITERAL = 48;

/**
 * Compiles a module and puts a counter into every place to which control can branch: bodies of functions and loops, both
 * sides of a condition, cases, handlers, and the right sides of `&&`, `||` and `??`.
 *
 * @param first number of the first counter
 */
export function instrument(fileName: string, source: string, first: number): Instrumented {
  let next = first;
  const literals = new Set<string>();
  const { factory } = ts;
  const count = (): ts.Expression =>
    factory.createPostfixIncrement(
      factory.createElementAccessExpression(factory.createIdentifier(COUNTERS), next++),
    );
  const counted = (expression: ts.Expression): ts.Expression =>
    factory.createParenthesizedExpression(factory.createComma(count(), expression));
  const statements = (list: readonly ts.Statement[]): ts.Statement[] => [
    factory.createExpressionStatement(count()),
    ...list,
  ];
  const block = (statement: ts.Statement): ts.Block =>
    factory.createBlock(statements(ts.isBlock(statement) ? statement.statements : [statement]), true);

  const transformer: ts.TransformerFactory<ts.SourceFile> = (context) => {
    const visit = (node: ts.Node): ts.Node => {
      if (ts.isStringLiteralLike(node)) note(node.text);
      if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node) || ts.isTypeNode(node)) return node;
      return change(ts.visitEachChild(node, visit, context));
    };
    const change = (node: ts.Node): ts.Node => {
      if (ts.isIfStatement(node))
        return factory.updateIfStatement(
          node,
          node.expression,
          block(node.thenStatement),
          block(node.elseStatement ?? factory.createBlock([])),
        );
      if (ts.isForStatement(node))
        return factory.updateForStatement(
          node,
          node.initializer,
          node.condition,
          node.incrementor,
          block(node.statement),
        );
      if (ts.isForOfStatement(node))
        return factory.updateForOfStatement(
          node,
          node.awaitModifier,
          node.initializer,
          node.expression,
          block(node.statement),
        );
      if (ts.isWhileStatement(node))
        return factory.updateWhileStatement(node, node.expression, block(node.statement));
      if (ts.isCaseClause(node))
        return factory.updateCaseClause(node, node.expression, statements(node.statements));
      if (ts.isDefaultClause(node)) return factory.updateDefaultClause(node, statements(node.statements));
      if (ts.isCatchClause(node))
        return factory.updateCatchClause(node, node.variableDeclaration, block(node.block));
      if (ts.isConditionalExpression(node))
        return factory.updateConditionalExpression(
          node,
          node.condition,
          node.questionToken,
          counted(node.whenTrue),
          node.colonToken,
          counted(node.whenFalse),
        );
      if (ts.isBinaryExpression(node) && isBranch(node.operatorToken.kind))
        return factory.updateBinaryExpression(node, node.left, node.operatorToken, counted(node.right));
      return changeFunction(node);
    };
    const changeFunction = (node: ts.Node): ts.Node => {
      if (ts.isArrowFunction(node))
        return factory.updateArrowFunction(
          node,
          node.modifiers,
          node.typeParameters,
          node.parameters,
          node.type,
          node.equalsGreaterThanToken,
          ts.isBlock(node.body) ? block(node.body) : counted(node.body),
        );
      if (ts.isFunctionDeclaration(node) && node.body !== undefined)
        return factory.updateFunctionDeclaration(
          node,
          node.modifiers,
          node.asteriskToken,
          node.name,
          node.typeParameters,
          node.parameters,
          node.type,
          block(node.body),
        );
      if (ts.isMethodDeclaration(node) && node.body !== undefined)
        return factory.updateMethodDeclaration(
          node,
          node.modifiers,
          node.asteriskToken,
          node.name,
          node.questionToken,
          node.typeParameters,
          node.parameters,
          node.type,
          block(node.body),
        );
      return node;
    };
    return (file) => ts.visitNode(file, visit) as ts.SourceFile;
  };
  const note = (text: string): void => {
    if (text.length > 0 && text.length <= MAX_LITERAL) literals.add(text);
  };

  const { outputText } = ts.transpileModule(source, {
    fileName,
    transformers: { before: [transformer] },
    compilerOptions: {
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      allowJs: true,
      inlineSourceMap: true,
    },
  });
  return { code: outputText, counters: next - first, literals: [...literals] };
}

function isBranch(kind: ts.SyntaxKind): boolean {
  return (
    kind === ts.SyntaxKind.AmpersandAmpersandToken ||
    kind === ts.SyntaxKind.BarBarToken ||
    kind === ts.SyntaxKind.QuestionQuestionToken
  );
}
