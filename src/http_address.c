/*
 * http_address.c
 *		Addresses that only a superuser may have a server connect to: those of
 *		this machine, of its links, and of the metadata services of clouds,
 *		which give out credentials.
 *
 * What is judged is the address that a connection is made to, never a name:
 * whoever owns a name decides what it resolves to, and can change that
 * between a check and its use.  An IPv6 address that stands for an IPv4
 * address is judged by that.
 *
 * Private networks are not among them, for that is where grids of one's own
 * are; nor are this machine's addresses in other networks.
 *
 * Needs no server, and does not throw: libcurl's callbacks use it.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "http.h"

/* The first so many bits of an address. */
typedef struct Prefix
{
	unsigned char byte[16];
	int			bits;
} Prefix;

typedef struct RefusedRange
{
	Prefix		prefix;
	const char *what;			/* its addresses are */
} RefusedRange;

#define LOOPBACK	"a loopback address"
#define UNSPECIFIED	"an unspecified address"
#define LINK_LOCAL	"a link-local address"
#define METADATA	"the address of a cloud's metadata service"
#define MULTICAST	"a multicast address"
#define BROADCAST	"the broadcast address"
#define NOT_IP		"no IP address"

static const RefusedRange refused_ipv4[] = {
	{{{127}, 8}, LOOPBACK},
	/* "This host": Linux takes 0.0.0.0 for the loopback address. */
	{{{0}, 8}, UNSPECIFIED},
	/* Among them 169.254.169.254, the metadata service of most clouds. */
	{{{169, 254}, 16}, LINK_LOCAL},
	/* Alibaba, Azure (WireServer), Oracle (Classic) */
	{{{100, 100, 100, 200}, 32}, METADATA},
	{{{168, 63, 129, 16}, 32}, METADATA},
	{{{192, 0, 0, 192}, 32}, METADATA},
	{{{224}, 4}, MULTICAST},
	{{{255, 255, 255, 255}, 32}, BROADCAST}
};

static const RefusedRange refused_ipv6[] = {
	{{{[15] = 1}, 128}, LOOPBACK},
	{{{0xfe, 0x80}, 10}, LINK_LOCAL},
	/* AWS, of whose services that whole range is */
	{{{0xfd, 0x00, 0x0e, 0xc2}, 32}, METADATA},
	/* Google, fd20:ce::254 */
	{{{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54}, 128}, METADATA},
	/* Oracle, fd00:c1::a9fe:a9fe */
	{{{0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, 0xfe, 0xa9, 0xfe}, 128},
	METADATA},
	/* Akamai (Linode), fd00:a9fe:a9fe::1 */
	{{{0xfd, 0x00, 0xa9, 0xfe, 0xa9, 0xfe, [15] = 1}, 128}, METADATA},
	/* Scaleway, fd00:42::42 */
	{{{0xfd, 0x00, 0x00, 0x42, [15] = 0x42}, 128}, METADATA},
	/* Alibaba, fd00:100::100:200 */
	{{{0xfd, 0x00, 0x01, 0x00, [12] = 0x01, 0x00, 0x02, 0x00}, 128},
	METADATA},
	{{{0xff}, 8}, MULTICAST}
};

/* IPv6 addresses with an IPv4 address in them. */
static const struct
{
	Prefix		prefix;
	int			at;				/* byte that the IPv4 address begins at */
}			with_ipv4[] = {
	{{{[10] = 0xff, 0xff}, 96}, 12},	/* mapped, ::ffff:a.b.c.d */
	{{{0}, 96}, 12},			/* compatible, ::a.b.c.d; and :: itself */
	{{{[8] = 0xff, 0xff}, 96}, 12}, /* translated, ::ffff:0:a.b.c.d */
	{{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},	/* NAT64, 64:ff9b::a.b.c.d */
	{{{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48}, 12},	/* of a network */
	{{{0x20, 0x02}, 16}, 2}		/* 6to4, 2002:aabb:ccdd:: */
};

static bool
begins_with(const unsigned char *address, const Prefix *prefix)
{
	int			whole = prefix->bits / 8;
	int			rest = prefix->bits % 8;
	int			mask = (0xff << (8 - rest)) & 0xff;

	return memcmp(address, prefix->byte, whole) == 0 &&
		(rest == 0 || ((address[whole] ^ prefix->byte[whole]) & mask) == 0);
}

/*
 * Returns what the ranges say of an address, or NULL if it is in none.
 */
static const char *
find_range(const unsigned char *address, const RefusedRange *range, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (begins_with(address, &range[i].prefix))
			return range[i].what;
	}
	return NULL;
}

static const char *
refuse_ipv4(const unsigned char *address)
{
	return find_range(address, refused_ipv4, lengthof(refused_ipv4));
}

static const char *
refuse_ipv6(const unsigned char *address)
{
	const char *what = find_range(address, refused_ipv6,
								  lengthof(refused_ipv6));

	for (int i = 0; what == NULL && i < (int) lengthof(with_ipv4); i++)
	{
		if (begins_with(address, &with_ipv4[i].prefix))
			what = refuse_ipv4(address + with_ipv4[i].at);
	}
	return what;
}

/*
 * Returns NULL if any server may connect to an address, or else what it is: a
 * constant.
 */
const char *
bs_http_address_refuse(const struct sockaddr *address)
{
	const void *given = address;
	const struct sockaddr_in *ipv4 = given;
	const struct sockaddr_in6 *ipv6 = given;

	if (address->sa_family == AF_INET)
		return refuse_ipv4((const unsigned char *) &ipv4->sin_addr);
	if (address->sa_family == AF_INET6)
		return refuse_ipv6((const unsigned char *) &ipv6->sin6_addr);
	return NOT_IP;
}

/*
 * The same of an address as text.  With "name" set, the text may also be a
 * host's name, of which nothing is said.
 */
const char *
bs_http_address_refuse_text(const char *text, bool name)
{
	unsigned char address[16];

	if (inet_pton(AF_INET, text, address) == 1)
		return refuse_ipv4(address);
	if (inet_pton(AF_INET6, text, address) == 1)
		return refuse_ipv6(address);
	return name ? NULL : NOT_IP;
}
