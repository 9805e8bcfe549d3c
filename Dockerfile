# Sluice in a small image: production dependencies and the sources, which Node runs as they are; no build step.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No install scripts: nothing that Sluice needs at run time has one.
RUN npm ci --omit=dev --ignore-scripts

FROM node:24-slim
WORKDIR /app
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE ./
COPY config config
COPY src src
# The number, not the name: Kubernetes' runAsNonRoot can check it. Nothing in the image is this user's to write.
USER 1000:1000
EXPOSE 8080
# Without a shell in between Node is process 1, and SIGTERM reaches it: Sluice drains and exits 0.
ENTRYPOINT ["node", "src/main.ts"]
CMD ["serve"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "src/healthCheck.ts"]
