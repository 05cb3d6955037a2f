package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// ports collects a flag that may be repeated.
type ports []string

func (p *ports) String() string { return strings.Join(*p, ",") }
func (p *ports) Set(value string) error {
	*p = append(*p, value)
	return nil
}

// serve listens on the ports of its flags, which are those that the suite's manifests give. It does not return.
func serve(args []string) {
	flags := flag.NewFlagSet("echo", flag.ExitOnError)
	var web, grpc, tcp, secure ports
	flags.Var(&web, "port", "HTTP/1.1 and HTTP/2 in the clear")
	flags.Var(&grpc, "grpc", "gRPC in the clear")
	flags.Var(&tcp, "tcp", "one line, echoed")
	flags.Var(&secure, "tls", "which of the HTTP ports speak TLS")
	flags.String("crt", "", "not read: the certificate is made at start")
	flags.String("key", "", "not read")
	_ = flags.Parse(args)
	if len(args) == 0 {
		// As the image that ours stands for: one of the manifests gives no ports.
		web, grpc, tcp = ports{"8080"}, ports{"7070"}, ports{"9090"}
	}

	ended := make(chan error)
	for _, port := range slices.Concat(web, grpc) {
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
		server := &http.Server{Addr: ":" + port, Handler: answerOn(port), Protocols: &protocols}
		if slices.Contains(secure, port) {
			server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{selfSigned()}}
			go func() { ended <- server.ListenAndServeTLS("", "") }()
		} else {
			go func() { ended <- server.ListenAndServe() }()
		}
	}
	for _, port := range tcp {
		go func() { ended <- serveLines(port) }()
	}
	log.Fatal(<-ended)
}

// answerOn tells in the body what was asked.
func answerOn(port string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isGrpc := r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("content-type"), "application/grpc")
		var text strings.Builder
		if isGrpc {
			w.Header().Set("content-type", "application/grpc")
			message, err := fromFrame(r.Body)
			if err != nil || r.URL.Path != echoMethod {
				w.Header().Set("grpc-status", "12")
				return
			}
			fmt.Fprintf(&text, "StatusCode=200\nEcho=%s\n", message)
		}
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(&text, "ServicePort=%s\nHost=%s\nURL=%s\nMethod=%s\nProto=%s\nIP=%s\n", port, r.Host, r.RequestURI, r.Method, r.Proto, client)
		writeHeaders(&text, "RequestHeader", r.Header)
		fmt.Fprintf(&text, "Hostname=%s\n", hostname())
		if !isGrpc {
			w.Header().Set("content-type", "text/plain")
			_, _ = io.WriteString(w, text.String())
			return
		}
		_, _ = w.Write(toFrame(text.String()))
		// As gRPC does, without a content-length.
		_ = http.NewResponseController(w).Flush()
		w.Header().Set(http.TrailerPrefix+"grpc-status", "0")
	})
}

func serveLines(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = connection.Close() }()
			line, _ := bufio.NewReader(connection).ReadString('\n')
			_, _ = fmt.Fprintf(connection, "StatusCode=200\nServicePort=%s\nHostname=%s\nEcho=%s", port, hostname(), line)
		}()
	}
}

func writeHeaders(to io.Writer, field string, headers http.Header) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, value := range headers[name] {
			_, _ = fmt.Fprintf(to, "%s=%s:%s\n", field, name, value)
		}
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	return name
}

func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"echo"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
