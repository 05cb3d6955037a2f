// Names the programs that are built, so that go.mod and go.sum pin them.
//go:build tools

package tools

import (
	_ "google.golang.org/grpc/interop/client"
	_ "google.golang.org/grpc/interop/server"
)
