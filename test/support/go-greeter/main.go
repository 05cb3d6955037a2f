// A server and a client as programs in Go are: the server listens with MPTCP, as Go does by itself since 1.24.
//
//	go-greeter serve PORT                     greets each client with what it sees of it
//	go-greeter dial HOST PORT [mptcp]         prints what it sees, as one line of JSON
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

// Seen is one end's view of a connection.
type Seen struct {
	Remote   string          `json:"remote"`
	Local    string          `json:"local"`
	Mptcp    bool            `json:"mptcp"`
	Greeting json.RawMessage `json:"greeting,omitempty"`
}

func view(conn net.Conn) Seen {
	multipath, err := conn.(*net.TCPConn).MultipathTCP()
	check(err)
	host := func(address net.Addr) string {
		return address.(*net.TCPAddr).IP.String()
	}
	return Seen{Remote: host(conn.RemoteAddr()), Local: host(conn.LocalAddr()), Mptcp: multipath}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	if os.Args[1] == "serve" {
		listener, err := net.Listen("tcp", ":"+os.Args[2])
		check(err)
		for {
			conn, err := listener.Accept()
			check(err)
			go func() {
				defer conn.Close()
				line, _ := json.Marshal(view(conn))
				conn.Write(append(line, '\n'))
			}()
		}
	}
	dialer := net.Dialer{Timeout: 30 * time.Second}
	if len(os.Args) > 4 {
		dialer.SetMultipathTCP(true)
	}
	conn, err := dialer.Dial("tcp", net.JoinHostPort(os.Args[2], os.Args[3]))
	check(err)
	seen := view(conn)
	seen.Greeting, err = bufio.NewReader(conn).ReadBytes('\n')
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(seen))
}
