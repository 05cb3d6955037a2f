// SPDX-License-Identifier: Apache-2.0
/*
 * A chained CNI plugin: holds a new pod until the node's agent has it in the mesh, where the container runtime has no NRI. It decides nothing
 * by itself. It hands what the runtime said to the agent over a unix socket, and waits for the agent's word; while there is no agent it refuses,
 * since a pod that starts unheld would speak in plaintext, but for pods that are known to stay outside of the mesh.
 *
 * It runs on the host, of which nothing is known: so it needs no library, and is one static file of system calls.
 *
 * Its configuration, an entry of the runtime's list of plugins:
 *   type     loam-cni
 *   socket   path of the agent's socket
 *   outside  path of a file in which the agent names the namespaces that are not in the mesh, one a line
 *   exempt   list of namespaces whose pods pass while there is no agent: the mesh's own, and the cluster's
 *
 * To the agent: COMMAND\nCONTAINERID\nNETNS\nARGS\n, then the configuration as the runtime gave it, to the end of the stream.
 * From the agent: "ok", or "no " and the reason.
 */
typedef unsigned long size;
typedef long word;

#define MAX_CONFIG (512 * 1024)
#define MAX_FILE (1024 * 1024)
#define MAX_ANSWER 2048
#define WAIT_MS 60000

#define CODE_INVALID_CONFIG 7
#define CODE_TRY_LATER 11
#define CODE_REFUSED 100

/* --- system calls ----------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define SYS_read 0
#define SYS_write 1
#define SYS_rt_sigprocmask 14
#define SYS_close 3
#define SYS_socket 41
#define SYS_connect 42
#define SYS_shutdown 48
#define SYS_exit_group 231
#define SYS_openat 257
#define SYS_ppoll 271
static word call(word number, word a, word b, word c, word d, word e) {
	word result;
	register word r10 __asm__("r10") = d;
	register word r8 __asm__("r8") = e;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n\thlt\n");
#elif defined(__aarch64__)
#define SYS_openat 56
#define SYS_close 57
#define SYS_read 63
#define SYS_write 64
#define SYS_ppoll 73
#define SYS_exit_group 94
#define SYS_rt_sigprocmask 135
#define SYS_socket 198
#define SYS_connect 203
#define SYS_shutdown 210
static word call(word number, word a, word b, word c, word d, word e) {
	register word x8 __asm__("x8") = number;
	register word x0 __asm__("x0") = a;
	register word x1 __asm__("x1") = b;
	register word x2 __asm__("x2") = c;
	register word x3 __asm__("x3") = d;
	register word x4 __asm__("x4") = e;
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl begin\n\tbrk #1\n");
#else
#error "x86-64 or arm64"
#endif

#define AT_FDCWD -100
#define O_RDONLY 0
#define O_CLOEXEC 02000000
#define AF_UNIX 1
#define SOCK_STREAM 1
#define SOCK_CLOEXEC 02000000
#define SHUT_WR 1
#define POLLIN 1
#define EINTR 4
#define SIG_BLOCK 0
#define SIGPIPE_BIT (1UL << 12)

/* The compiler makes calls of these by itself. */
void *memcpy(void *to, const void *from, size count) {
	char *t = to;
	const char *f = from;
	while (count--)
		*t++ = *f++;
	return to;
}
void *memset(void *to, int value, size count) {
	char *t = to;
	while (count--)
		*t++ = (char)value;
	return to;
}

static size length(const char *text) {
	size count = 0;
	while (text[count])
		count++;
	return count;
}

static int write_all(int fd, const char *bytes, size count) {
	while (count > 0) {
		word done = call(SYS_write, fd, (word)bytes, (word)count, 0, 0);
		if (done == -EINTR)
			continue;
		if (done <= 0)
			return 0;
		bytes += done;
		count -= (size)done;
	}
	return 1;
}

static _Noreturn void leave(int code) {
	for (;;)
		call(SYS_exit_group, code, 0, 0, 0, 0);
}

/* Reads to the end. Returns the count, or -1 for an error or more than there is room for. */
static word read_all(int fd, char *bytes, size room) {
	size count = 0;
	for (;;) {
		if (count == room)
			return -1;
		word got = call(SYS_read, fd, (word)(bytes + count), (word)(room - count), 0, 0);
		if (got == -EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			return (word)count;
		count += (size)got;
	}
}

/* --- texts ------------------------------------------------------------------------------------------------ */

struct span {
	const char *at;
	size count;
};

static int is_same(struct span a, struct span b) {
	if (a.count != b.count)
		return 0;
	for (size i = 0; i < a.count; i++)
		if (a.at[i] != b.at[i])
			return 0;
	return 1;
}

static struct span span_of(const char *text) {
	return (struct span){text, length(text)};
}

static struct span environment(char **envp, const char *name) {
	size count = length(name);
	for (; *envp; envp++) {
		size i = 0;
		while (i < count && (*envp)[i] == name[i])
			i++;
		if (i == count && (*envp)[i] == '=')
			return span_of(*envp + count + 1);
	}
	return (struct span){"", 0};
}

/* The value of a key in CNI_ARGS: KEY=VALUE;KEY=VALUE. */
static struct span argument(struct span args, const char *name) {
	struct span key = span_of(name);
	size at = 0;
	while (at < args.count) {
		size end = at;
		while (end < args.count && args.at[end] != ';')
			end++;
		if (end - at > key.count && args.at[at + key.count] == '=' &&
		    is_same((struct span){args.at + at, key.count}, key))
			return (struct span){args.at + at + key.count + 1, end - at - key.count - 1};
		at = end + 1;
	}
	return (struct span){"", 0};
}

/* --- as much of JSON as finds a key of an object ----------------------------------------------------------- */

struct reader {
	const char *at;
	const char *end;
};

static void skip_space(struct reader *r) {
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

/* A string with its quotes; the span is what is between them. Returns 0 when there is none. */
static int read_string(struct reader *r, struct span *inside) {
	if (r->at >= r->end || *r->at != '"')
		return 0;
	const char *from = ++r->at;
	while (r->at < r->end && *r->at != '"')
		r->at += *r->at == '\\' ? 2 : 1;
	if (r->at >= r->end)
		return 0;
	*inside = (struct span){from, (size)(r->at - from)};
	r->at++;
	return 1;
}

/* Any value, by its brackets. Returns 0 when it does not end. */
static int skip_value(struct reader *r) {
	size depth = 0;
	struct span ignored;
	while (r->at < r->end) {
		char c = *r->at;
		if (c == '"') {
			if (!read_string(r, &ignored))
				return 0;
		} else if (c == '{' || c == '[') {
			depth++;
			r->at++;
		} else if (c == '}' || c == ']') {
			if (depth == 0)
				return 1;
			depth--;
			r->at++;
		} else if (depth == 0 && c == ',') {
			return 1;
		} else {
			r->at++;
		}
		if (depth == 0 && (c == '"' || c == '}' || c == ']'))
			return 1;
	}
	return depth == 0;
}

/* The text of a key's value in an object; empty when it is not there. */
static struct span value_of(struct span json, const char *name) {
	struct reader r = {json.at, json.at + json.count};
	struct span key;
	skip_space(&r);
	if (r.at >= r.end || *r.at++ != '{')
		return (struct span){"", 0};
	for (;;) {
		skip_space(&r);
		if (!read_string(&r, &key))
			return (struct span){"", 0};
		skip_space(&r);
		if (r.at >= r.end || *r.at++ != ':')
			return (struct span){"", 0};
		skip_space(&r);
		const char *from = r.at;
		if (!skip_value(&r))
			return (struct span){"", 0};
		if (is_same(key, span_of(name)))
			return (struct span){from, (size)(r.at - from)};
		skip_space(&r);
		if (r.at >= r.end || *r.at++ != ',')
			return (struct span){"", 0};
	}
}

/* What is between the quotes of a value that is a string. */
static struct span string_of(struct span value) {
	if (value.count < 2 || value.at[0] != '"')
		return (struct span){"", 0};
	return (struct span){value.at + 1, value.count - 2};
}

/* Whether a list of strings has one. */
static int has(struct span list, struct span wanted) {
	struct reader r = {list.at, list.at + list.count};
	struct span each;
	while (r.at < r.end) {
		if (*r.at != '"')
			r.at++;
		else if (!read_string(&r, &each))
			return 0;
		else if (is_same(each, wanted))
			return 1;
	}
	return 0;
}

/* --- what it says ------------------------------------------------------------------------------------------ */

static char said[8192];
static size said_count;

static void say(struct span text) {
	for (size i = 0; i < text.count && said_count < sizeof(said); i++)
		said[said_count++] = text.at[i];
}

/* Inside of a JSON string. */
static void say_quoted(struct span text) {
	for (size i = 0; i < text.count && said_count < sizeof(said) - 64; i++) {
		unsigned char c = (unsigned char)text.at[i];
		said[said_count++] = c == '"' || c == '\\' ? '\'' : c < 0x20 ? ' ' : (char)c;
	}
}

static _Noreturn void refuse(struct span version, int code, struct span why, struct span more) {
	say(span_of("{\"cniVersion\":\""));
	say_quoted(version.count > 0 ? version : span_of("1.0.0"));
	say(span_of("\",\"code\":"));
	say(span_of(code == CODE_INVALID_CONFIG ? "7" : code == CODE_TRY_LATER ? "11" : "100"));
	say(span_of(",\"msg\":\""));
	say_quoted(why);
	say_quoted(more);
	say(span_of("\"}\n"));
	write_all(1, said, said_count);
	leave(1);
}

/* The network is as the plugin before made it. */
static _Noreturn void let_pass(struct span result) {
	leave(write_all(1, result.at, result.count) && write_all(1, "\n", 1) ? 0 : 1);
}

/* --- the agent --------------------------------------------------------------------------------------------- */

struct address {
	unsigned short family;
	char path[108];
};

static int connect_to(struct span path) {
	struct address to = {AF_UNIX, {0}};
	if (path.count == 0 || path.count >= sizeof(to.path))
		return -1;
	memcpy(to.path, path.at, path.count);
	word fd = call(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, 0, 0);
	if (fd < 0)
		return -1;
	if (call(SYS_connect, fd, (word)&to, sizeof(to), 0, 0) < 0) {
		call(SYS_close, fd, 0, 0, 0, 0);
		return -1;
	}
	return (int)fd;
}

struct polled {
	int fd;
	short events;
	short revents;
};
struct duration {
	word seconds;
	word nanoseconds;
};

/* Reads to the end, and waits no longer than so for each part. Returns the count, or -1. */
static word read_answer(int fd, char *bytes, size room) {
	size count = 0;
	while (count < room) {
		struct polled one = {fd, POLLIN, 0};
		struct duration wait = {WAIT_MS / 1000, 0};
		word ready = call(SYS_ppoll, (word)&one, 1, (word)&wait, 0, 0);
		if (ready == -EINTR)
			continue;
		if (ready <= 0)
			return -1;
		word got = call(SYS_read, fd, (word)(bytes + count), (word)(room - count), 0, 0);
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		count += (size)got;
	}
	return (word)count;
}

static int has_line_break(struct span text) {
	for (size i = 0; i < text.count; i++)
		if (text.at[i] == '\n')
			return 1;
	return 0;
}

static char config[MAX_CONFIG];
static char outside[MAX_FILE];
static char answer[MAX_ANSWER];

/* Whether the agent has said of a namespace that it is not in the mesh. */
static int is_outside(struct span file, struct span namespace) {
	char path[256];
	if (file.count == 0 || file.count >= sizeof(path))
		return 0;
	memcpy(path, file.at, file.count);
	path[file.count] = 0;
	word fd = call(SYS_openat, AT_FDCWD, (word)path, O_RDONLY | O_CLOEXEC, 0, 0);
	if (fd < 0)
		return 0;
	word count = read_all((int)fd, outside, sizeof(outside));
	call(SYS_close, fd, 0, 0, 0, 0);
	const char *from = outside;
	for (const char *at = outside; count > 0 && at < outside + count; at++) {
		if (*at != '\n')
			continue;
		if (is_same((struct span){from, (size)(at - from)}, namespace))
			return 1;
		from = at + 1;
	}
	return 0;
}

/* Hands on what the runtime said. Returns the connection, or -1 where nobody took it. */
static int tell(struct span json, char **envp) {
	int fd = connect_to(string_of(value_of(json, "socket")));
	if (fd < 0)
		return -1;
	struct span header[] = {environment(envp, "CNI_COMMAND"), environment(envp, "CNI_CONTAINERID"),
				environment(envp, "CNI_NETNS"), environment(envp, "CNI_ARGS")};
	int sent = 1;
	for (int i = 0; i < 4; i++)
		sent = sent && !has_line_break(header[i]) && write_all(fd, header[i].at, header[i].count) && write_all(fd, "\n", 1);
	sent = sent && write_all(fd, json.at, json.count);
	call(SYS_shutdown, fd, SHUT_WR, 0, 0, 0);
	return sent ? fd : -1;
}

static _Noreturn void add(struct span json, char **envp) {
	struct span version = string_of(value_of(json, "cniVersion"));
	struct span result = value_of(json, "prevResult");
	struct span args = environment(envp, "CNI_ARGS");
	struct span namespace = argument(args, "K8S_POD_NAMESPACE");
	if (result.count == 0 || result.at[0] != '{')
		refuse(version, CODE_INVALID_CONFIG,
		       span_of("loam-cni makes no network: it has to come after the plugin that does"), span_of(""));
	/* Nobody but a kubelet's pod can be in the mesh. */
	if (namespace.count == 0)
		let_pass(result);

	int fd = tell(json, envp);
	word count = fd < 0 ? -1 : read_answer(fd, answer, sizeof(answer));
	if (count == 2 && answer[0] == 'o' && answer[1] == 'k')
		let_pass(result);
	if (count > 3 && answer[0] == 'n' && answer[1] == 'o' && answer[2] == ' ')
		refuse(version, CODE_REFUSED, (struct span){answer + 3, (size)count - 3}, span_of(""));
	/* There is no agent, or it went before it answered. */
	if (has(value_of(json, "exempt"), namespace) || is_outside(string_of(value_of(json, "outside")), namespace))
		let_pass(result);
	refuse(version, CODE_TRY_LATER,
	       span_of("Loam's agent does not answer on this node, and the pod would speak in plaintext without it: see the pods of DaemonSet loam-agent; "
		       "namespace of the pod: "),
	       namespace);
}

__attribute__((used)) _Noreturn void begin(word *stack) {
	word argc = stack[0];
	/* An agent that goes must not take us with it: the reason is to be said. */
	unsigned long blocked = SIGPIPE_BIT;
	call(SYS_rt_sigprocmask, SIG_BLOCK, (word)&blocked, 0, sizeof(blocked), 0);
	char **envp = (char **)(stack + 1 + argc + 1);
	struct span command = environment(envp, "CNI_COMMAND");
	if (is_same(command, span_of("VERSION"))) {
		const char *versions = "{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n";
		leave(write_all(1, versions, length(versions)) ? 0 : 1);
	}
	int is_add = is_same(command, span_of("ADD"));
	int is_del = is_same(command, span_of("DEL"));
	if (!is_add && !is_del)
		leave(0);
	word count = read_all(0, config, sizeof(config));
	/* A pod that goes is held by nobody; the agent hears of it if it is there. */
	if (is_del) {
		if (count > 0)
			tell((struct span){config, (size)count}, envp);
		leave(0);
	}
	if (count < 0)
		refuse(span_of(""), CODE_INVALID_CONFIG, span_of("the configuration cannot be read"), span_of(""));
	add((struct span){config, (size)count}, envp);
}
