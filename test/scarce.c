/*
 * scarce.c
 *
 * A machine that is short of something, for tests: loaded into a server with
 * LD_PRELOAD, it makes calls of the C library fail on demand, in one process
 * or in all of them, the n-th call, every n-th, or all from the n-th on.
 *
 *	what	fails
 *	1		malloc(), calloc(), realloc(), strdup(): ENOMEM
 *	2		socket(): EMFILE
 *	3		epoll_ctl() that adds: ENOSPC
 *	4		writes behind the end of a table's file: ENOSPC
 *	5		writes to the WAL: ENOSPC
 *
 * Memory fails only those who call from the chosen libraries: 1 for the
 * extension, libcurl and libjansson, 2 for the server's program.
 *
 * The server loads it as a library of SQL functions, too, all with arguments
 * of type int.  It needs nothing of the server, so that other programs, which
 * inherit LD_PRELOAD, do not miss anything:
 *
 *	scarce_arm(pid, what, libraries, first, every, times); what 0: no more
 *	scarce_calls()	calls that could have failed since then
 *	scarce_failed()	those that did
 *	scarce_in_use()	kB that this process has from malloc()
 *	scarce_take_descriptors(), scarce_give_back_descriptors()
 *					all of PostgreSQL's budget of them
 *
 * pid 0 means all processes; times 0, that calls are counted and none fails.
 * What is armed is in memory that the postmaster's children share.
 *
 *	cc -D_GNU_SOURCE -shared -fPIC -I$(pg_config --includedir-server) \
 *		-o scarce.so scarce.c
 */
#include "postgres.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fmgr.h"

/* The server has one of its own. */
#undef snprintf

PG_MODULE_MAGIC;

enum Resource
{
	NOTHING, MEMORY, DESCRIPTORS, WATCHES, DISK, WAL
};

static struct Shortage
{
	int			what;			/* an enum Resource */
	int			pid;			/* 0 = all */
	int			libraries;
	int			first;			/* counted from 1 */
	int			every;			/* after the first one; 0 = never again */
	int			times;			/* failures that are left */
	int			calls;
	int			failed;
	int			generation;
}		   *shortage;

/* Where the code of the chosen libraries is, in this process. */
#define MAX_RANGES	32

static struct Range
{
	uintptr_t	from;
	uintptr_t	to;
}			range[MAX_RANGES];
static int	nranges;
static int	ranges_of;			/* the generation they were looked up for */
static int	ranges_in;			/* and the process */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t nmemb, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

__attribute__((constructor))
static void
share(void)
{
	void	   *page = mmap(NULL, sizeof(struct Shortage),
							PROT_READ | PROT_WRITE,
							MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page != MAP_FAILED)
		shortage = page;
}

/* Counts a call; returns whether it is to fail. */
static bool
fails(void)
{
	int			n = __atomic_add_fetch(&shortage->calls, 1, __ATOMIC_SEQ_CST);
	int			after = n - shortage->first;
	int			every = shortage->every;

	if (shortage->times <= 0 || after < 0 ||
		(every == 0 ? after > 0 : after % every != 0))
		return false;
	if (__atomic_sub_fetch(&shortage->times, 1, __ATOMIC_SEQ_CST) < 0)
		return false;
	__atomic_add_fetch(&shortage->failed, 1, __ATOMIC_SEQ_CST);
	return true;
}

static bool
is_armed(int what)
{
	return shortage != NULL && shortage->what == what &&
		(shortage->pid == 0 || shortage->pid == getpid());
}

static bool
is_chosen(const char *name)
{
	if (shortage->libraries & 1 &&
		(strstr(name, "browser_session.so") != NULL ||
		 strstr(name, "libcurl") != NULL ||
		 strstr(name, "libjansson") != NULL))
		return true;
	return shortage->libraries & 2 && *name == '\0';
}

static int
note_library_cb(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void) size;
	(void) unused;
	if (!is_chosen(info->dlpi_name))
		return 0;
	for (int i = 0; i < info->dlpi_phnum && nranges < MAX_RANGES; i++)
	{
		const ElfW(Phdr) * part = &info->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		range[nranges].from = info->dlpi_addr + part->p_vaddr;
		range[nranges].to = range[nranges].from + part->p_memsz;
		nranges++;
	}
	return 0;
}

/* Is there no memory for whom the call returns to? */
static bool
memory_fails(const void *caller)
{
	uintptr_t	place = (uintptr_t) caller;

	if (!is_armed(MEMORY))
		return false;
	if (ranges_of != shortage->generation || ranges_in != getpid())
	{
		nranges = 0;
		dl_iterate_phdr(note_library_cb, NULL);
		ranges_of = shortage->generation;
		ranges_in = getpid();
	}
	for (int i = 0; i < nranges; i++)
		if (place >= range[i].from && place < range[i].to)
			return fails();
	return false;
}

static void *
refuse_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* ----- what is interposed ---------------------------------------------- */

void *
malloc(size_t size)
{
	if (memory_fails(__builtin_return_address(0)))
		return refuse_memory();
	return __libc_malloc(size);
}

void *
calloc(size_t nmemb, size_t size)
{
	if (memory_fails(__builtin_return_address(0)))
		return refuse_memory();
	return __libc_calloc(nmemb, size);
}

void *
realloc(void *memory, size_t size)
{
	if (memory_fails(__builtin_return_address(0)))
		return refuse_memory();
	return __libc_realloc(memory, size);
}

char *
strdup(const char *text)
{
	size_t		size = strlen(text) + 1;
	char	   *copy;

	if (memory_fails(__builtin_return_address(0)))
		return refuse_memory();
	copy = __libc_malloc(size);
	return copy == NULL ? NULL : memcpy(copy, text, size);
}

int
socket(int domain, int type, int protocol)
{
	if (is_armed(DESCRIPTORS) && domain != AF_UNIX && fails())
	{
		errno = EMFILE;
		return -1;
	}
	return (int) syscall(SYS_socket, domain, type, protocol);
}

int
epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	if (is_armed(WATCHES) && op == EPOLL_CTL_ADD && fails())
	{
		errno = ENOSPC;
		return -1;
	}
	return (int) syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

/* Is there no room on disk for these bytes? */
static bool
disk_fails(int fd, off_t end)
{
	char		link[64];
	char		path[1024];
	struct stat file;
	ssize_t		length;

	if (!is_armed(DISK) && !is_armed(WAL))
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return false;
	path[length] = '\0';
	if (is_armed(WAL))
		return strstr(path, "/pg_wal/") != NULL && fails();
	/* What a file has already, it keeps. */
	return strstr(path, "/base/") != NULL && fstat(fd, &file) == 0 &&
		end > file.st_size && fails();
}

static ssize_t
refuse_disk(void)
{
	errno = ENOSPC;
	return -1;
}

ssize_t
pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
	if (disk_fails(fd, offset + (off_t) n))
		return refuse_disk();
	return syscall(SYS_pwrite64, fd, bytes, n, offset);
}

ssize_t
pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
	return pwrite(fd, bytes, n, (off_t) offset);
}

ssize_t
pwritev(int fd, const struct iovec *part, int n, off_t offset)
{
	off_t		end = offset;

	for (int i = 0; i < n; i++)
		end += (off_t) part[i].iov_len;
	if (disk_fails(fd, end))
		return refuse_disk();
	return syscall(SYS_pwritev, fd, part, n, offset, 0L);
}

ssize_t
pwritev64(int fd, const struct iovec *part, int n, off64_t offset)
{
	return pwritev(fd, part, n, (off_t) offset);
}

int
posix_fallocate(int fd, off_t offset, off_t n)
{
	if (disk_fails(fd, offset + n))
		return ENOSPC;
	return syscall(SYS_fallocate, fd, 0, offset, n) == 0 ? 0 : errno;
}

int
posix_fallocate64(int fd, off64_t offset, off64_t n)
{
	return posix_fallocate(fd, (off_t) offset, (off_t) n);
}

/* ----- what SQL calls --------------------------------------------------- */

PG_FUNCTION_INFO_V1(scarce_arm);
PG_FUNCTION_INFO_V1(scarce_calls);
PG_FUNCTION_INFO_V1(scarce_failed);
PG_FUNCTION_INFO_V1(scarce_in_use);
PG_FUNCTION_INFO_V1(scarce_take_descriptors);
PG_FUNCTION_INFO_V1(scarce_give_back_descriptors);

static int	ntaken = 0;			/* descriptors */

Datum
scarce_arm(PG_FUNCTION_ARGS)
{
	int			what = PG_GETARG_INT32(1);

	shortage->what = NOTHING;
	/* What was counted can still be asked for. */
	if (what == NOTHING)
		PG_RETURN_VOID();
	shortage->pid = PG_GETARG_INT32(0);
	shortage->libraries = PG_GETARG_INT32(2);
	shortage->first = PG_GETARG_INT32(3);
	shortage->every = PG_GETARG_INT32(4);
	shortage->times = PG_GETARG_INT32(5);
	shortage->calls = shortage->failed = 0;
	shortage->generation++;
	shortage->what = what;
	PG_RETURN_VOID();
}

Datum
scarce_calls(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_INT32(shortage->calls);
}

Datum
scarce_failed(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_INT32(shortage->failed);
}

Datum
scarce_in_use(PG_FUNCTION_ARGS)
{
	struct mallinfo2 info = mallinfo2();

	(void) fcinfo;
	PG_RETURN_INT32((int32) ((info.uordblks + info.hblkhd) / 1024));
}

/* The server's own functions are looked up when they are needed. */
Datum
scarce_take_descriptors(PG_FUNCTION_ARGS)
{
	bool		(*take) (void);
	int			n = 0;

	(void) fcinfo;
	*(void **) &take = dlsym(RTLD_DEFAULT, "AcquireExternalFD");
	while (take())
		n++;
	ntaken += n;
	PG_RETURN_INT32(n);
}

Datum
scarce_give_back_descriptors(PG_FUNCTION_ARGS)
{
	void		(*give_back) (void);
	int			n = ntaken;

	(void) fcinfo;
	*(void **) &give_back = dlsym(RTLD_DEFAULT, "ReleaseExternalFD");
	for (; ntaken > 0; ntaken--)
		give_back();
	PG_RETURN_INT32(n);
}
