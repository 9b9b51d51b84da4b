#!/bin/sh
# Makes the secrets that compose.yaml mounts, once: `deploy/secrets.sh [FOLDER]` (default: secrets). It never overwrites one.
# The folder is its owner's alone; the files are readable within it, because the containers' users are others than their owner.
set -eu
acl=$(cd "$(dirname "$0")" && pwd)/redis.acl
folder=${1:-secrets}
mkdir -p "$folder"
chmod 0700 "$folder"
cd "$folder"
# An empty secret would be none for good: Redis lets anybody in by an empty access list.
new() { if [ ! -e "$1" ]; then cat >"$1.new" && [ -s "$1.new" ] && chmod 0644 "$1.new" && mv "$1.new" "$1"; fi; }
word() { openssl rand -hex 24; }

word | new postgres_password
redis=$(word)
if [ ! -e redis_acl ]; then
  # Redis keeps the password's SHA-256 alone. What the user may do is deploy/redis.acl, which a test measures.
  sed "s/PASSWORD_SHA256/$(printf %s "$redis" | openssl dgst -sha256 -r | cut -d' ' -f1)/" "$acl" | new redis_acl
  printf 'redis://truename:%s@redis:6379/0' "$redis" | new truename_redis_url
fi
printf 'postgresql://truename:%s@postgres/truename' "$(cat postgres_password)" | new truename_database_url
openssl rand -base64 32 | new truename_secret_key
openssl genpkey -algorithm ed25519 | new truename_signing_key
