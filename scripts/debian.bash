# SPDX-License-Identifier: Apache-2.0
#
# What the scripts share that fetch Debian's packages without installing them;
# to be sourced. apt works in a directory of its own, of which the machine's
# packages, hooks and sources know nothing.

readonly debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
readonly debian_default_mirror=http://deb.debian.org/debian

# debian_mirrors prints the URLs from which this machine takes Debian itself, so
# that a mirror chosen by its owner is honoured, and then the default one.
debian_mirrors() {
	local codename
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # the names are apt's to expand
	{
		apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
			'Created-By: Packages' 2>/dev/null |
			awk -v codename="$codename" '
				$2 == codename && $3 == "main" && $1 ~ /debian/ { sub("/$", "", $1); print $1 }' || true
		echo "$debian_default_mirror"
	} | awk '!seen[$0]++'
}

# debian_apt makes a directory in which apt can work for a suite, with
# APT_CONFIG=$dir/apt.conf; only how to reach a mirror (proxies, timeouts,
# credentials) is carried over from the machine.
debian_apt() {
	local dir=$1 suite=$2
	mkdir -p "$dir"/etc/apt/{apt.conf.d,preferences.d,trusted.gpg.d} \
		"$dir"/var/{lib/apt/lists/partial,cache/apt/archives/partial,log/apt}
	touch "$dir/status"
	{
		cat <<CONFIG
Dir "$dir";
Dir::State::status "$dir/status";
Dir::Etc::Parts "apt.conf.d";
Dir::Etc::Main "apt.conf";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
CONFIG
		apt-config dump | grep -E '^Acquire::((http|https)(::|[ "])|Check-Date )' || true
		if [[ $suite == sid || $suite == *-backports ]]; then
			# A mirror's copy may be older than the week its Release file is valid.
			echo 'Acquire::Check-Valid-Until "false";'
		fi
	} >"$dir/apt.conf"
}

# debian_sources says where apt in a directory takes a suite from.
debian_sources() {
	local dir=$1 mirror=$2 suite=$3
	echo "deb [signed-by=$debian_keyring] $mirror $suite main" >"$dir/etc/apt/sources.list"
}

# debian_cause is why apt has failed, of what it has printed.
debian_cause() {
	local cause
	cause=$(grep -m1 '^[EW]: Failed to fetch' "$1" || grep -m1 '^E: ' "$1" || tail -n1 "$1")
	echo "${cause#[EW]: }"
}
