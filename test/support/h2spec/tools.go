// Names the programs that are built, so that go.mod and go.sum pin them.
//go:build tools

package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
