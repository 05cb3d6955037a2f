// Names the programs that are built, so that go.mod and go.sum pin them.
//go:build tools

package tools

import _ "helm.sh/helm/v3/cmd/helm"
