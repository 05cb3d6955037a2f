package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const patience = 5 * time.Second

// headers collects `-H name:value`, in which a comma is part of the value.
type headers []string

func (h *headers) String() string { return strings.Join(*h, " ") }
func (h *headers) Set(value string) error {
	*h = append(*h, value)
	return nil
}

type call struct {
	url     *url.URL
	method  string
	headers headers
}

// runClient calls an address once or several times, and prints each response as the suite reads it, a blank line after each.
func runClient(args []string) int {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	var wanted call
	flags.Var(&wanted.headers, "H", "name:value")
	flags.StringVar(&wanted.method, "method", http.MethodGet, "method")
	count := flags.Int("count", 1, "how often")
	var target string
	// The suite writes flags behind the address.
	for rest := args; len(rest) > 0; {
		_ = flags.Parse(rest)
		if rest = flags.Args(); len(rest) > 0 {
			target, rest = rest[0], rest[1:]
		}
	}
	var err error
	if wanted.url, err = url.Parse(target); err != nil || wanted.url.Host == "" {
		fmt.Fprintln(os.Stderr, "usage: client URL [-H name:value] [--method METHOD] [--count N]")
		return 2
	}
	code := 0
	for i := range *count {
		lines, err := wanted.make()
		for _, line := range lines {
			fmt.Printf("[%d%s\n", i, line)
		}
		if err != nil {
			fmt.Printf("[%d error] %v\n", i, err)
			code = 1
		}
		fmt.Println()
	}
	return code
}

// make calls once. The lines are without the number in front.
func (c call) make() ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch c.url.Scheme {
	case "tcp":
		return c.overTCP(ctx)
	case "grpc":
		return c.overGrpc(ctx)
	default:
		return c.overHTTP(ctx)
	}
}

func (c call) overTCP(ctx context.Context) ([]string, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.url.Host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(connection, "HelloWorld"); err != nil {
		return nil, err
	}
	said, err := io.ReadAll(connection)
	return bodyLines(string(said)), err
}

func (c call) overHTTP(ctx context.Context) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, c.method, c.url.String(), nil)
	if err != nil {
		return nil, err
	}
	c.addHeaders(request)
	// A connection of its own for each call.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	// Redirects are what is looked at.
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	lines := []string{fmt.Sprintf("] StatusCode=%d", response.StatusCode)}
	var head strings.Builder
	writeHeaders(&head, "ResponseHeader", response.Header)
	for line := range strings.Lines(head.String()) {
		lines = append(lines, "] "+strings.TrimSuffix(line, "\n"))
	}
	said, err := io.ReadAll(response.Body)
	return append(lines, bodyLines(string(said))...), err
}

func (c call) overGrpc(ctx context.Context) ([]string, error) {
	target := &url.URL{Scheme: "http", Host: c.url.Host, Path: echoMethod}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(toFrame("HelloWorld")))
	if err != nil {
		return nil, err
	}
	c.addHeaders(request)
	request.Header.Set("content-type", "application/grpc")
	request.Header.Set("te", "trailers")
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	message, err := fromFrame(response.Body)
	_, _ = io.Copy(io.Discard, response.Body)
	status := response.Trailer.Get("grpc-status")
	if status == "" {
		// An answer without a message has its status in the head.
		status = response.Header.Get("grpc-status")
	}
	if status != "0" {
		return nil, fmt.Errorf("HTTP %d, grpc-status %q", response.StatusCode, status)
	}
	return bodyLines(message), err
}

func (c call) addHeaders(request *http.Request) {
	for _, header := range c.headers {
		name, value, _ := strings.Cut(header, ":")
		if strings.EqualFold(name, "host") {
			request.Host = value
		} else {
			request.Header.Add(name, value)
		}
	}
}

func bodyLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, " body] "+line)
		}
	}
	return lines
}
