import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.channels.AsynchronousSocketChannel;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.util.concurrent.TimeUnit;

/**
 * A server and a client as programs in Java are: every socket is one of IPv6, and IPv4 is v4-mapped.
 *
 * <pre>
 * Greeter.java serve PORT           greets each client with what it sees of it
 * Greeter.java dial HOST PORT...    prints for each such pair and each kind of socket a line of JSON
 * </pre>
 */
public class Greeter {
  public static void main(String[] args) throws Exception {
    if (args[0].equals("serve")) serve(Integer.parseInt(args[1]));
    for (int i = 1; i < args.length; i += 2) dial(new InetSocketAddress(args[i], Integer.parseInt(args[i + 1])));
  }

  static void serve(int port) throws Exception {
    try (ServerSocket server = new ServerSocket(port)) {
      while (true) {
        try (Socket socket = server.accept()) {
          String line = seen(socket.getInetAddress(), socket.getLocalAddress(), "") + "}\n";
          socket.getOutputStream().write(line.getBytes("UTF-8"));
        }
      }
    }
  }

  static void dial(InetSocketAddress to) throws Exception {
    try (Socket socket = new Socket()) {
      socket.connect(to, 30_000);
      tell("Socket", to, socket.getRemoteSocketAddress(), socket.getLocalSocketAddress(), socket.getInputStream());
    }
    try (SocketChannel channel = SocketChannel.open()) {
      channel.configureBlocking(false);
      channel.connect(to);
      while (!channel.finishConnect()) Thread.sleep(1);
      channel.configureBlocking(true);
      InputStream in = Channels.newInputStream(channel);
      tell("SocketChannel", to, channel.getRemoteAddress(), channel.getLocalAddress(), in);
    }
    try (AsynchronousSocketChannel channel = AsynchronousSocketChannel.open()) {
      channel.connect(to).get(30, TimeUnit.SECONDS);
      InputStream in = Channels.newInputStream(channel);
      tell("AsynchronousSocketChannel", to, channel.getRemoteAddress(), channel.getLocalAddress(), in);
    }
  }

  static void tell(String kind, InetSocketAddress to, Object remote, Object local, InputStream in) throws Exception {
    String greeting = new BufferedReader(new InputStreamReader(in, "UTF-8")).readLine();
    InetAddress there = ((InetSocketAddress) remote).getAddress();
    InetAddress here = ((InetSocketAddress) local).getAddress();
    String dialled = String.format("\"kind\":\"%s\",\"host\":\"%s\",\"port\":%d,", kind, to.getHostString(), to.getPort());
    System.out.println(seen(there, here, dialled) + ",\"greeting\":" + greeting + "}");
  }

  static String seen(InetAddress remote, InetAddress local, String more) {
    return String.format("{%s\"remote\":\"%s\",\"local\":\"%s\"", more, plain(remote), plain(local));
  }

  /** Without the interface that Java may add to an IPv6 address. */
  static String plain(InetAddress address) {
    return address.getHostAddress().replaceAll("%.*", "");
  }
}
