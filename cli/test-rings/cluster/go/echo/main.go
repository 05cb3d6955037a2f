// The application of the Gateway API's mesh conformance tests, in place of the image that their manifests name: a server that
// answers with what it was asked, and `client`, which the suite runs in its pods. Both print the lines that the suite reads
// (sigs.k8s.io/gateway-api/conformance/utils/echo/parse.go).
package main

import (
	"os"
	"path/filepath"
)

func main() {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "client" {
		os.Exit(runClient(args))
	}
	serve(args)
}
